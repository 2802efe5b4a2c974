import { strict as assert } from "node:assert";
import path from "node:path";

import type { MaskCodec as MaskCodecClass } from "../../../src/masks/codec.js";
import type * as Paste from "../../../src/masks/paste.js";
import { useBackend } from "../../../src/backends/backend.js";
import { openFile } from "../../../weights/source.js";
import { compare } from "../../parity/compare.js";
import { fixtures, readTensors } from "../../parity/reference.js";
import { type Planted, plant, removeMutants } from "../../support/mutant.js";
import { bytes, floats, masked, segmentationCases } from "./cases.js";

const folder = path.join(fixtures, "vqvae");
const inFile = (file: string, rows: [string, string, string][]): (Planted & { name: string })[] =>
  rows.map(([name, find, replace]) => ({ name, file, find, replace }));

const mistakes = [
  ...inFile("layers/mask-vae/residual-convolutions.ts", [
    ["a ReLU behind the residual sum", "return x.add(last.apply(outer) as tf.Tensor);", "return tf.relu(x.add(last.apply(outer) as tf.Tensor));"],
  ]),
  ...inFile("layers/mask-vae/convolution.ts", [
    ["rows and columns of kernels swapped", "transpose([2, 3, 1, 0])", "transpose([3, 2, 1, 0])"],
    ["kernels of transposed convolutions turned round", "tf.conv2dTranspose(x, kernel,", "tf.conv2dTranspose(x, kernel.reverse([0, 1]) as tf.Tensor4D,"],
  ]),
  ...inFile("layers/mask-vae/mask-decoder.ts", [
    ["no ReLU behind a transposed convolution", "...doubling }), { relu: true }", "...doubling }), { relu: false }"],
  ]),
  ...inFile("layers/mask-vae/mask-vae.ts", [
    ["codes column by column", "rows.reshape([-1, CELLS, CELLS, this.config.codebookWidth])", "rows.reshape([-1, CELLS, CELLS, this.config.codebookWidth]).transpose([0, 2, 1, 3])"],
    ["cells column by column", "found.reshape([-1, this.config.codebookWidth])", "found.transpose([0, 2, 1, 3]).reshape([-1, this.config.codebookWidth])"],
  ]),
  ...inFile("layers/mask-vae/codebook.ts", [
    ["the nearest code by another distance", "apart.square()", "apart.abs()"],
  ]),
  ...inFile("src/masks/paste.ts", [
    ["0 is inside", "value > 0 ?", "value >= 0 ?"],
    ["corners rounded instead of cut off", "divisor, Math.trunc)", "divisor, roundHalfToEven)"],
    ["corners of soft masks cut off instead of rounded", "divisor, roundHalfToEven)", "divisor, Math.trunc)"],
    ["another divisor", "wholeBox(box, size, divisor, Math.trunc)", "wholeBox(box, size, 1024, Math.trunc)"],
    ["a cubic where a triangle belongs", '"pillow-bilinear"', '"pillow-bicubic"'],
  ]),
  ...inFile("src/grammar/box.ts", [
    ["x and y swapped", "left: across(x0), top: down(y0)", "left: across(y0), top: down(x0)"],
  ]),
  ...inFile("src/input/resize/resize-plane.ts", [
    ["floats resized rows first, whatever the shape", "return columnsFirst(plane, width, height) ?", "return false ?"],
  ]),
]; // prettier-ignore

type Codec = typeof MaskCodecClass;

/** The first thing that the copy gets wrong, or null. */
async function difference(load: ReturnType<typeof plant>): Promise<string | null> {
  const { MaskCodec } = await load<{ MaskCodec: Codec }>("masks/codec.ts");
  return (await wrongCodes(MaskCodec)) ?? wrongPaste(await load<typeof Paste>("masks/paste.ts"));
}

async function wrongCodes(MaskCodec: Codec): Promise<string | null> {
  const expected = await readTensors(path.join(folder, "expected.safetensors"));
  const rows = (name: string) => {
    const { shape, values } = expected.get(name)!;
    const size = values.length / shape[0];
    return Array.from({ length: shape[0] }, (_, i) => [...values.slice(i * size, (i + 1) * size)]);
  };
  const source = await openFile(path.join(folder, "stored.npz"));
  const codec = await MaskCodec.load(source);
  await source.close();
  try {
    const maps = await codec.decode(rows("codes"));
    const off = maps.map((map, i) => compare(map, rows("decoder.12")[i]).scaled);
    if (off.some((scaled) => !(scaled < 1e-5))) return `decoded masks are ${Math.max(...off)} off`;
    const masks = rows("masks").map((mask) => Float32Array.from(mask, (value) => 2 * (value - 0.5)));
    const codes = await codec.encode(masks);
    return JSON.stringify(codes) === JSON.stringify(rows("encoded.codes")) ? null : "codes of masks";
  } finally {
    codec.dispose();
  }
}

function wrongPaste({ pasteHard, pasteSoft }: typeof Paste): string | null {
  const maps = segmentationCases.maps.map(floats);
  for (const { height, width, box, divisor, map, hard, soft } of segmentationCases.pastes) {
    const size = { width, height };
    const where = `${box.join(" ")} in ${width} x ${height}`;
    try {
      const [ours, ourSoft] = [pasteHard(maps[map], box, size, divisor), pasteSoft(maps[map], box, size)];
      if (Buffer.compare(ours.data, masked(hard, width, height)) !== 0) return `hard ${where}`;
      if (Buffer.compare(ourSoft.data, bytes(soft)) !== 0) return `soft ${where}`;
    } catch (error) {
      return `${where}: ${String(error)}`;
    }
  }
  return null;
}

describe("a mistake planted between codes and masks is caught", () => {
  before(() => useBackend("wasm"));
  after(removeMutants);

  it("and the source without one passes the same comparison", async () => {
    const genuine = { file: "src/masks/paste.ts", find: "value > 0 ?", replace: "value > 0 ?" };
    assert.equal(await difference(plant(genuine, "genuine-masks")), null);
  });

  mistakes.forEach((mistake, i) => {
    it(mistake.name, async () => {
      const found = await difference(plant(mistake, `masks-${i}`));
      assert.notEqual(found, null, "nothing notices it");
      console.log(`      ${found}`);
    });
  });
});
