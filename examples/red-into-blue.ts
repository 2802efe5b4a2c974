// Patches the residual stream of a red circle into the run of a blue one: where does "red" come back?
import sharp from "sharp";

import { PaliGemma } from "../src/index.js";
import { activationPatching, logitDifference } from "../src/doors/inspection.js";
import { patchesOf } from "./scenes.js";

const SIZE = 224;
const CIRCLE = { x: 150, y: 84, r: 30 };
const COLORS = { red: "#e02020", blue: "#2040e0" };

/** The same picture but for the colour of its circle. */
async function picture(color: keyof typeof COLORS): Promise<Uint8Array> {
  const { x, y, r } = CIRCLE;
  const circle = `<circle cx="${x}" cy="${y}" r="${r}" fill="${COLORS[color]}"/>`;
  const square = `<rect x="30" y="140" width="56" height="56" fill="#20a040"/>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${SIZE}" height="${SIZE}"><rect width="100%" height="100%" fill="#f0e6c8"/>${circle}${square}</svg>`;
  return sharp(Buffer.from(svg)).png().toBuffer();
}

const model = await PaliGemma.load();
const side = model.config.vision.imageSize / model.config.vision.patchSize;
const prompt = "answer en what color is the circle?";
const [red, blue] = [
  { image: await picture("red"), prompt },
  { image: await picture("blue"), prompt },
];
const [redAnswer, blueAnswer] = [await model.generate(red), await model.generate(blue)];
console.log(`red circle: ${redAnswer.text}; blue circle: ${blueAnswer.text}`);

const { x, y, r } = CIRCLE;
const box = [y - r, x - r, y + r, x + r].map((at) => at / SIZE) as [number, number, number, number];
const circle = patchesOf(box, [side, side]);
const elsewhere = Array.from({ length: side * side }, (_, i) => i).filter((i) => !circle.includes(i));
const metric = logitDifference(redAnswer.tokens[0], blueAnswer.tokens[0]);
const found = await activationPatching(model, { clean: red, corrupted: blue }, metric, {
  leaf: "hook_resid_pre",
  positions: [circle, elsewhere, ["bos", "prefix", "newline"]],
});
const back = (value: number) => `${((100 * (value - found.corrupted)) / (found.clean - found.corrupted)).toFixed(0)} %`;
console.log(`of the difference between "${redAnswer.text}" and "${blueAnswer.text}" comes back, by what is patched:`);
console.log("block  circle  other patches  text");
found.values.forEach((values, layer) => console.log(`${layer}      ${values.map(back).join("     ")}`));

// The same as an edit that lives in generation: the projected rows of the circle, taken from the other picture.
const source = await model.runWithCache(red, { hooks: "projector.hook_out", positions: circle, stopAt: "needed" });
const value = source.cache.get("projector.hook_out");
const edited = await model.generate(blue, {
  edits: [{ hook: "projector.hook_out", op: "set", positions: circle, value }],
});
console.log(`the blue circle with the rows of the red one: ${edited.text}`);
source.cache.dispose();
model.dispose();
