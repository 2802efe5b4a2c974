// Knocks attention edges from the picture to the question out, and watches the answer: once all of the picture, once
// the asked shape alone, once another shape of the same picture. The measure is the log-probability of the right
// answer.
import { PaliGemma } from "../src/index.js";
import { knockOut, logProbability, measure, type Edit } from "../src/doors/inspection.js";
import { mean, patchesOf, percent, scenes } from "./scenes.js";

const model = await PaliGemma.load();
const side = model.config.vision.imageSize / model.config.vision.patchSize;
const QUESTION = ["bos", "prefix", "newline"];
const all = knockOut({ from: "image", to: QUESTION });
const changes: Record<string, number[]> = { "the whole picture": [], "the asked shape": [], "another shape": [] };
let [asked, changed] = [0, 0];

for (const { file, shapes } of scenes(2)) {
  for (const shape of shapes) {
    const question = { image: file, prompt: `answer en what color is the ${shape.kind}?` };
    const { text, tokens } = await model.generate(question);
    if (text !== shape.color) continue;
    asked++;
    const blind = await model.generate(question, { edits: [all] });
    if (blind.text !== text) changed++;
    if (asked === 1) console.log(`"${question.prompt}": ${text}; without the edges from the picture: ${blind.text}`);
    const answerOf = async (edits: Edit[]) => {
      const logits = await model.runWithHooks(question, edits);
      const value = await measure(logProbability(tokens[0]), logits);
      logits.dispose();
      return value;
    };
    const other = shapes.find((one) => one !== shape)!;
    const plain = await answerOf([]);
    const without = (from: number[]) => answerOf([knockOut({ from, to: QUESTION })]);
    changes["the whole picture"].push((await answerOf([all])) - plain);
    changes["the asked shape"].push((await without(patchesOf(shape.box, [side, side]))) - plain);
    changes["another shape"].push((await without(patchesOf(other.box, [side, side]))) - plain);
  }
}

console.log(`without the edges from the picture ${percent(changed / asked)} of ${asked} answers change`);
for (const [which, values] of Object.entries(changes)) {
  console.log(`edges from ${which}: the right answer loses ${(-mean(values)).toFixed(4)} nats on average`);
}
model.dispose();
