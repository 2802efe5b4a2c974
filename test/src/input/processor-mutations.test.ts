import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import path from "node:path";

import type { decodeImage as decodeImageFunction } from "../../../src/input/image/decode.js";
import type { Processor as ProcessorClass } from "../../../src/input/processor.js";
import type { loadTokenizer as loadTokenizerFunction, Tokenizer } from "../../../src/input/tokenizer/tokenizer.js";
import { openFolder } from "../../../weights/source.js";
import { fixtures } from "../../parity/reference.js";
import { type Planted, plant, removeMutants } from "../../support/mutant.js";

type Case = { images: (string | string[])[]; prompts: string[]; suffix: string[] | null; pixelBytes: string } & Record<
  "inputIds" | "tokenTypeIds" | "labels",
  number[][]
>;

const folder = path.join(fixtures, "processor");
const cases = JSON.parse(readFileSync(path.join(folder, "processor.json"), "utf8")) as Case[];

const inFile = (file: string, rows: [string, string, string][]): (Planted & { name: string })[] =>
  rows.map(([name, find, replace]) => ({ name, file, find, replace }));

const mistakes = [
  ...inFile("src/input/processor.ts", [
    ["no newline behind the prompt", "marks(`${prompt}\\n`, specialTokens)", "marks(prompt, specialTokens)"],
    ["the begin mark doubled", "[...before, bosTokenId,", "[...before, bosTokenId, bosTokenId,"],
    ["no begin mark", "[...before, bosTokenId,", "[...before,"],
    ["the begin mark before the pictures", "[...before, bosTokenId,", "[bosTokenId, ...before,"],
    ["the end mark not trained", "return [...ids, eosTokenId];", "return ids;"],
    ["the suffix typed like the prompt", "fill(row, 0, zero, one)", "fill(row, 0, zero, zero)"],
    ["labels that include the prompt", "fill(row, IGNORED_LABEL, ignored, id)", "fill(row, IGNORED_LABEL, id, id)"],
    ["padding on the right", "return [...pads, ...row.prefix.map(prefix), ...row.suffix.map(suffix)];", "return [...row.prefix.map(prefix), ...row.suffix.map(suffix), ...pads];"],
  ]),
  ...inFile("src/input/tokenizer/added-tokens.ts", [
    ["location tokens cut into pieces", "if (!match) {", 'if (!match || match.token.content.startsWith("<loc")) {'],
  ]),
  ...inFile("src/input/resize/resample.ts", [
    ["no antialiasing", "const filterScale = Math.max(scale, 1);", "const filterScale = 1;"],
    ["pixel centres at their corners", "const centre = (i + 0.5) * scale;", "const centre = i * scale;"],
    ["a sharper cubic", "const a = -0.5;", "const a = -0.75;"],
    ["weights cut off instead of rounded", "+ (value < 0 ? -0.5 : 0.5)", ""],
  ]),
  ...inFile("src/input/resize/resize.ts", [
    ["sums cut off instead of rounded", "let red = HALF;", "let red = 0;"],
    ["blue where red belongs", "output[at] = clipByte(red);", "output[at] = clipByte(blue);"],
  ]),
  ...inFile("src/input/image/sharp-decoder.ts", [
    ["transparency composited", 'pipeline.removeAlpha().toColourspace("srgb")', 'pipeline.flatten({ background: "white" }).toColourspace("srgb")'],
  ]),
]; // prettier-ignore

type PictureCase = { rgb: string };
const pictures = JSON.parse(readFileSync(path.join(folder, "images.json"), "utf8")) as Record<string, PictureCase>;

/** The first case that the copy gets wrong, or null. */
async function difference(load: ReturnType<typeof plant>): Promise<string | null> {
  const { Processor } = await load<{ Processor: typeof ProcessorClass }>("input/processor.ts");
  const { loadTokenizer } = await load<{ loadTokenizer: typeof loadTokenizerFunction }>("input/tokenizer/tokenizer.ts");
  const hub = await openFolder(path.join(folder, "hub"));
  // The same tokenizer through the other engine, which knows no location tokens of its own.
  const json = { ...hub, has: async (name: string) => name !== "tokenizer.model" && hub.has(name) };
  const file = (name: string) => path.join(folder, "images", name);
  for (const tokenizer of [await loadTokenizer(hub), await loadTokenizer(json)]) {
    const found = await caseDifference(Processor, tokenizer, file);
    if (found !== null) return found;
  }
  const { decodeImage } = await load<{ decodeImage: typeof decodeImageFunction }>("input/image/decode.ts");
  for (const [name, { rgb }] of Object.entries(pictures)) {
    const { data } = await decodeImage(file(name));
    if (Buffer.compare(data, Buffer.from(rgb, "base64")) !== 0) return `picture ${name}`;
  }
  return null;
}

async function caseDifference(
  Processor: typeof ProcessorClass,
  tokenizer: Tokenizer,
  file: (name: string) => string,
): Promise<string | null> {
  const { imageTokenId, bosTokenId, padTokenId } = tokenizer;
  const ids = { imageTokenId: imageTokenId!, bosTokenId: bosTokenId!, padTokenId: padTokenId! };
  const processor = new Processor({ tokenizer, imageSize: 28, numImageTokens: 4, ...ids });
  for (const { images, prompts, suffix, ...expected } of cases) {
    const groups = images.map((entry) => (Array.isArray(entry) ? entry : [entry]).map(file));
    const result = await processor.process(groups, prompts, { suffix: suffix ?? undefined });
    for (const key of ["inputIds", "tokenTypeIds", ...(suffix ? (["labels"] as const) : [])] as const) {
      if (JSON.stringify(result[key]) !== JSON.stringify(expected[key])) return `${key} of ${JSON.stringify(prompts)}`;
    }
    const hash = createHash("sha256").update(result.pixelBytes!).digest("hex");
    if (hash !== expected.pixelBytes) return `pixels of ${images.join(", ")}`;
  }
  return null;
}

describe("a mistake planted before the network is caught", () => {
  after(removeMutants);

  it("and the source without one passes the same comparison", async () => {
    const genuine = { file: "src/input/resize/resample.ts", find: "const a = -0.5;", replace: "const a = -0.5;" };
    assert.equal(await difference(plant(genuine, "genuine-processor")), null);
  });

  mistakes.forEach((mistake, i) => {
    it(mistake.name, async () => {
      const found = await difference(plant(mistake, `processor-${i}`));
      assert.notEqual(found, null, "nothing notices it");
      console.log(`      ${found}`);
    });
  });
});
