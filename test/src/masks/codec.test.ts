import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { InputError } from "../../../src/base/errors.js";
import { maskAnswer } from "../../../src/masks/answer.js";
import { MaskCodec } from "../../../src/masks/codec.js";
import { MaskCodecLoader } from "../../../src/masks/codec-loader.js";
import type { Mask } from "../../../src/masks/mask.js";
import { readMaskWeights } from "../../../src/masks/weights.js";
import { parseObjects } from "../../../src/grammar/parse-objects.js";
import {
  encodeNpz,
  encodeSafetensors,
  memorySource,
  openFile,
  openFolder,
  type TensorData,
} from "../../../weights/index.js";
import { compare } from "../../parity/compare.js";
import { fixtures, readTensors, type ReferenceTensor } from "../../parity/reference.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { requestsOf } from "../../support/serve.js";
import { weightsError } from "../../weights/helpers.js";
import { masked, segmentationCases } from "./cases.js";

const folder = path.join(fixtures, "vqvae");
const at = (file: string) => path.join(folder, file);

async function load(file: string): Promise<MaskCodec> {
  const source = await openFile(at(file));
  try {
    return await MaskCodec.load(source);
  } finally {
    await source.close();
  }
}

onEachBackend("the codec of masks", (backend) => {
  let expected: Map<string, ReferenceTensor>;
  let codec: MaskCodec;
  before(async () => {
    expected = await readTensors(at("expected.safetensors"));
    codec = await load("stored.npz");
    await codec.encode(await codec.decode([new Array<number>(16).fill(1)]));
  });
  after(() => codec.dispose());

  const rows = (name: string): number[][] => {
    const { shape, values } = expected.get(name)!;
    const size = values.length / shape[0];
    return Array.from({ length: shape[0] }, (_, i) => [...values.slice(i * size, (i + 1) * size)]);
  };

  for (const [file, output] of [
    ["stored.npz", "decoder.12"],
    ["deflated.npz", "decoder.12"],
    ["weights.safetensors", "decoder.12"],
    ["bfloat16.npz", "bfloat16.decoder.12"],
  ]) {
    leakFree(`${file} decodes as PyTorch does with the same weights`, async () => {
      const other = await load(file);
      const maps = await other.decode(rows("codes"));
      other.dispose();
      rows(output).forEach((map, i) => {
        const { scaled } = compare(maps[i], map);
        assert.ok(scaled < 1e-5, `mask ${i} is ${scaled} off`);
      });
    });
  }

  leakFree("encodes to the codes of the reference, and any number of masks at once", async () => {
    const maps = rows("masks").map((mask) => Float32Array.from(mask, (value) => 2 * (value - 0.5)));
    assert.deepEqual(await codec.encode(maps), rows("encoded.codes"));
    const many = Array.from({ length: 41 }, (_, i) => rows("codes")[i % 2]);
    const decoded = await codec.decode(many);
    assert.equal(decoded.length, 41);
    decoded.forEach((map, i) => assert.ok(compare(map, decoded[i % 2]).scaled < 1e-6));
    assert.deepEqual([await codec.decode([]), await codec.encode([])], [[], []]);
  });

  it("refuses codes and maps that are none", async () => {
    for (const codes of [[1, 2, 3], new Array<number>(16).fill(128), new Array<number>(16).fill(0.5)]) {
      await assert.rejects(codec.decode([codes]), /codes\[0\]: expected 16 whole numbers below 128/);
    }
    await assert.rejects(codec.encode([new Float32Array(64)]), /expected 64 x 64 values, received 64/);
  });

  for (const { height, width, bits, box, answer } of segmentationCases.answers) {
    leakFree(
      `a mask of ${width} x ${height}${box ? " with a box" : ""} becomes the answer that big_vision trains with`,
      async () => {
        const mask: Mask = { data: masked(bits, width, height), width, height };
        const [y0, x0, y1, x1] = box ?? [];
        const given = box ? { left: x0 * width, top: y0 * height, right: x1 * width, bottom: y1 * height } : undefined;
        assert.equal(await maskAnswer(codec, [{ mask, label: "", box: given }]), answer);
        const both = await maskAnswer(codec, [
          { mask, label: "a cat", box: given },
          { mask, label: " dog ", box: given },
        ]);
        assert.equal(both, `${answer} a cat ; ${answer} dog`);
        assert.ok(parseObjects(both).objects.every(({ valid }) => valid));
      },
    );
  }

  it("what cannot be an answer is refused", async () => {
    const mask: Mask = { data: new Uint8Array(2000 * 3).fill(255, 7, 8), width: 2000, height: 3 };
    const whole: Mask = { data: new Uint8Array(6).fill(255), width: 2, height: 3 };
    const box = { left: 0, top: 0, right: 2, bottom: 3 };
    for (const [object, message] of [
      [{ mask, label: "dot" }, /objects\[0\] \(dot\): its box is too narrow/],
      [{ mask: { ...whole, data: new Uint8Array(6) }, label: "" }, /objects\[0\]: nothing is inside/],
      [{ mask: { ...whole, width: 3 }, label: "" }, /objects\[0\].mask: expected a mask of 3 x 3, received 6 bytes/],
      [{ mask: whole, label: "a ; b" }, /could not be read back/],
      [{ mask: whole, label: "a", box: { ...box, right: 3 } }, /within 2 x 3, received \(0, 0\) to \(3, 3\)/],
      [{ mask: whole, label: "a", box: { ...box, left: 1.9 } }, /expected a box of at least a pixel/],
      [{ mask: whole, label: "a", box: { ...box, top: NaN } }, /expected a box of at least a pixel/],
    ] as const) {
      await assert.rejects(
        maskAnswer(codec, [object]),
        (error: Error) => error instanceof InputError && message.test(error.message),
      );
    }
    await assert.rejects(maskAnswer(codec, []), /at least one/);
  });

  describe("is found", () => {
    let model: string;
    beforeEach(async () => {
      model = await mkdtemp(path.join(tmpdir(), "masks-"));
    });
    afterEach(() => rm(model, { recursive: true }));
    const open = () => openFolder(model);
    const wide = async (loader: MaskCodecLoader) => (await (await loader.codec()).decode([rows("codes")[0]]))[0];

    leakFree("in the model's folder: the .npz first, then either safetensors", async () => {
      for (const [from, to] of [
        ["weights.safetensors", "vae.safetensors"],
        ["weights.safetensors", "vae-oid.safetensors"],
        ["bfloat16.npz", "vae-oid.npz"],
      ]) {
        await cp(at(from), path.join(model, to));
        const loader = new MaskCodecLoader({ open, backend });
        const [first, second] = await Promise.all([loader.codec(), loader.codec()]);
        assert.equal(first, second, "asked twice at once, it is loaded once");
        const { scaled } = compare(
          await wide(loader),
          rows(to.endsWith("npz") ? "bfloat16.decoder.12" : "decoder.12")[0],
        );
        assert.ok(scaled < 1e-5, `${to}: ${scaled}`);
        loader.dispose();
        await new Promise(setImmediate);
      }
    });

    leakFree("where it is said to be, on disk or behind an address", async () => {
      await requestsOf(folder, async (url) => {
        for (const weights of [at("deflated.npz"), `${url}deflated.npz?key=secret`]) {
          const loader = new MaskCodecLoader({ open, weights, backend });
          assert.ok(compare(await wide(loader), rows("decoder.12")[0]).scaled < 1e-5);
          loader.dispose();
          await new Promise(setImmediate);
        }
      });
    });

    it("and where there is none, it is said what to fetch and where to put it; a later try may succeed", async () => {
      const loader = new MaskCodecLoader({ open, backend });
      await assert.rejects(loader.codec(), (error: Error) => {
        assert.ok(error instanceof InputError && error.message.startsWith(model), error.message);
        return /vae-oid\.npz, .*gs:\/\/big_vision\/paligemma\/vae-oid\.npz.*--mask-weights/.test(error.message);
      });
      await cp(at("stored.npz"), path.join(model, "vae-oid.npz"));
      await loader.codec();
      loader.dispose();
      const missing = new MaskCodecLoader({ open, weights: path.join(model, "other.npz"), backend });
      await assert.rejects(missing.codec(), weightsError(/other\.npz: cannot be opened/));
    });
  });

  it("a file that fails leaves no tensors behind", async () => {
    const before = counts();
    const source = memorySource("cut.npz", (await readFile(at("stored.npz"))).subarray(0, 5000));
    await assert.rejects(MaskCodec.load(source), weightsError(/cut\.npz/));
    assert.deepEqual(counts(), before);
  });
});

describe("weights of masks", () => {
  const tensors = async (): Promise<Map<string, TensorData>> => {
    const read = await readTensors(at("weights.safetensors"));
    return new Map([...read].map(([name, { shape, values }]) => [name, { dtype: "F32", shape, data: values }]));
  };
  const f32 = (...shape: number[]): TensorData => {
    return { dtype: "F32", shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) };
  };
  const halves: TensorData = { dtype: "F16", shape: [11], data: new Uint8Array(22) };

  for (const [what, change, message] of [
    ["a missing tensor", (all) => all.delete("decoder.4.bias"), /missing \(1\): decoder\.4\.bias/],
    ["an unexpected one", (all) => all.set("decoder.14.weight", f32(1)), /unexpected \(1\): decoder\.14\.weight/],
    ["another kernel", (all) => all.set("encoder.2.weight", f32(5, 3, 3, 3)), /encoder\.2\.weight is \[5, 3, 3, 3\], expected \[5, 3, 4, 4\]/],
    ["the kernel of a transposed convolution stored the other way", (all) => all.set("decoder.4.weight", f32(7, 9, 4, 4)), /decoder\.4\.weight is \[7, 9, 4, 4\], expected \[9, 9, 4, 4\]/],
    ["a shorter codebook", (all) => all.set("_vq_vae._embedding", f32(127, 11)), /_embedding is \[127, 11\], expected \[128, 11\]/],
    ["a codebook without width", (all) => all.set("_vq_vae._embedding", f32(128, 0)), /misshapen/],
    ["a flat kernel", (all) => all.set("decoder.12.weight", f32(4)), /decoder\.12\.weight is \[4\], expected \[1, 4, 1, 1\]/],
    ["numbers of another type", (all) => all.set("encoder.10.bias", { dtype: "I16", shape: [11], data: new Int16Array(11) }), /encoder\.10\.bias is I16/],
  ] as [string, (all: Map<string, TensorData>) => unknown, RegExp][]) {
    it(`${what} is a WeightsError that names it, in either kind of file`, async () => {
      const all = await tensors();
      change(all);
      for (const [name, file] of [["a.npz", encodeNpz(all)], ["b.safetensors", encodeSafetensors(all)]] as const) {
        await assert.rejects(readMaskWeights(memorySource(name, file)), weightsError(new RegExp(`^${name}`), message));
      }
    });
  } // prettier-ignore

  it("float16 is read, training state passed over, and another ending refused", async () => {
    const all = await tensors();
    all.set("encoder.10.bias", halves).set("_vq_vae._ema_w", f32(2, 2));
    const { config, tensors: read } = await readMaskWeights(memorySource("a.safetensors", encodeSafetensors(all)));
    assert.deepEqual(config, {
      codes: 128,
      codebookWidth: 11,
      encoderWidths: [3, 5, 6, 8],
      decoderWidths: [9, 7, 6, 5, 4],
    });
    assert.ok(!read.has("_vq_vae._ema_w"));
    await assert.rejects(
      readMaskWeights(memorySource("a.pth", encodeNpz(all))),
      weightsError(/a\.pth: expected .*\.npz or \.safetensors/),
    );
  });
});
