import path from "node:path";

import { PaliGemma } from "../src/paligemma.js";
import { parseBoxes } from "./heldout/boxes.js";
import { heldoutFolder, heldoutPictures } from "./heldout/heldout.js";

// The native backend would be taken where it is installed; the demonstration is that nothing native is needed.
const model = await PaliGemma.load(undefined, { backend: "wasm" });
const { file, items } = heldoutPictures().find(({ file }) => file === "0014.png")!;
const image = path.join(heldoutFolder, file);
console.log(
  `${path.relative(process.cwd(), image)}, a picture that the demo checkpoint has never seen, on ${model.backend}:\n`,
);

for (const prompt of ["caption en", "caption it", "ocr", ...questions("answer"), ...questions("detect")]) {
  const { text, timings } = await model.generate({ image, prompt });
  console.log(`${prompt}\n  ${text}  (${Math.round(timings.total)} ms)`);
  for (const { label, ...box } of prompt.startsWith("detect") ? (parseBoxes(text) ?? []) : []) {
    const [y0, x0, y1, x1] = [box.y0, box.x0, box.y1, box.x1].map((share) => Math.round(share * 224));
    console.log(`  ${label}: x ${x0} to ${x1}, y ${y0} to ${y1} of 224 pixels`);
  }
}
model.dispose();

/** The picture's own questions of a kind. */
function questions(kind: string): string[] {
  return items.filter((item) => item.kind === kind).map(({ prompt }) => prompt);
}
