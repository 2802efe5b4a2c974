// Where does the model look when it says a colour? For every held-out picture of several shapes it is asked for the
// colour of each; the measure is the part of the attention to the picture, from the position that chose the answer,
// that falls on the patches of the asked shape, beside the part of the picture that these patches are.
import { PaliGemma } from "../src/index.js";
import { attentionRows, meanRow } from "../src/doors/inspection.js";
import { mean, patchesOf, percent, scenes } from "./scenes.js";

const model = await PaliGemma.load();
const layers = Array.from({ length: model.config.text.numHiddenLayers }, (_, i) => i);
const choices = [...layers.map((layer) => [layer]), layers];
const shares: number[][] = choices.map(() => []);
const hits: number[][] = choices.map(() => []);
const areas: number[] = [];

for (const { file, shapes } of scenes(2)) {
  for (const { kind, color, box } of shapes) {
    const question = { image: file, prompt: `answer en what color is the ${kind}?` };
    const { text } = await model.generate(question);
    if (text !== color) continue;
    const rows = await attentionRows(model, question); // the query of the last position, which chooses the answer
    const inside = patchesOf(box, rows.grid);
    const patches = rows.grid[0] * rows.grid[1];
    areas.push(inside.length / patches);
    choices.forEach((some, i) => {
      const row = meanRow(rows, 0, { layers: some }).subarray(0, patches); // image rows come first
      const total = row.reduce((sum, value) => sum + value, 0);
      shares[i].push(inside.reduce((sum, patch) => sum + row[patch], 0) / total);
      hits[i].push(inside.includes(row.indexOf(Math.max(...row))) ? 1 : 0);
    });
  }
}

console.log(`${areas.length} colours answered rightly; the asked shape covers ${percent(mean(areas))} of the patches`);
choices.forEach((some, i) => {
  const which = some.length === 1 ? `block ${some[0]}` : "mean of all blocks and heads";
  const [share, hit] = [mean(shares[i]), mean(hits[i])].map(percent);
  console.log(
    `${which}: ${share} of the attention to the picture is on the shape; its brightest patch is there in ${hit}`,
  );
});
model.dispose();
