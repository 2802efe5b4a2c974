// The logit lens over image patches: what would the decoder say behind each block if it had to answer at a patch?
import { PaliGemma } from "../src/index.js";
import { logitLens } from "../src/doors/inspection.js";
import { mean, patchesOf, percent, scenes } from "./scenes.js";

const model = await PaliGemma.load();
const [scene] = scenes(3);
const question = { image: scene.file, prompt: "caption en" };
const side = model.config.vision.imageSize / model.config.vision.patchSize;
const cells = await logitLens(model, question, { positions: "image", topK: 1 });
const last = model.config.text.numHiddenLayers - 1;

console.log(scene.shapes.map(({ color, kind, position }) => `${color} ${kind} at ${position}`).join(", "));
for (const layer of [0, last]) {
  console.log(`block ${layer}, likeliest token of each patch:`);
  const tokens = cells
    .filter((cell) => cell.layer === layer)
    .map(({ top }) => JSON.stringify(top[0].text).slice(1, -1));
  for (let row = 0; row < side; row++) {
    console.log(
      tokens
        .slice(row * side, (row + 1) * side)
        .map((text) => text.slice(0, 8).padEnd(9))
        .join(""),
    );
  }
}

// The vision tower has no vocabulary of its own: its last blocks read through the projector are an extrapolation.
const vision = await logitLens(model, question, { tower: "vision", topK: 1 });
const shape = scene.shapes[0];
const inside = new Set(patchesOf(shape.box, [side, side]));
for (const [title, some] of [
  ["decoder", cells.filter(({ layer }) => layer === last)],
  ["vision tower, extrapolated", vision.filter(({ layer }) => layer === model.config.vision.numHiddenLayers - 1)],
] as const) {
  const entropies = (where: boolean) =>
    mean(some.filter(({ position }) => inside.has(position) === where).map(({ entropy }) => entropy));
  console.log(
    `${title}: entropy ${entropies(true).toFixed(2)} nats on the ${shape.kind}, ${entropies(false).toFixed(2)} elsewhere`,
  );
}
const sure = mean(cells.filter(({ layer }) => layer === last).map(({ top }) => (top[0].probability > 0.5 ? 1 : 0)));
console.log(`at the last block ${percent(sure)} of the patches are sure of one token`);
model.dispose();
