import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { noTap, type Tap } from "../../../layers/tap.js";
import { InputError } from "../../../src/base/errors.js";
import { JumpReluSae } from "../../../src/inspection/sae.js";
import { loadSae } from "../../../src/runs/load-sae.js";
import type { FeatureEdit } from "../../../src/inspection/sae-edits.js";
import type { ReconstructionError } from "../../../src/inspection/sae-error.js";
import { spliceSae, type SpliceOptions } from "../../../src/inspection/sae-splice.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { encodeNpz, type TensorData } from "../../../weights/index.js";
import { compare } from "../../parity/compare.js";
import { fixtures, modelInputs, readReference, readTensors, type ReferenceTensor } from "../../parity/reference.js";
import { EXACT } from "../../parity/run.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";
import { weightsError, withFolder } from "../../weights/helpers.js";

const folder = path.join(fixtures, "sae");
type Errors = Omit<ReconstructionError, "hook">;
type Case = { sae: string; hook: string; logits: string } & SpliceOptions;
const about = JSON.parse(readFileSync(path.join(folder, "expected.json"), "utf8")) as {
  hooks: Record<string, { hook: string; errors: Errors; positions: number[]; errors_there: Errors }>;
  cases: Case[];
};

/** Largest difference, as a fraction of the largest number. */
const apart = (ours: tf.Tensor, { shape, values }: ReferenceTensor): number => {
  assert.deepEqual(ours.shape, shape);
  return compare(ours.dataSync(), values).scaled;
};

const sameErrors = (found: ReconstructionError | undefined, hook: string, expected: Errors): void => {
  assert.deepEqual(Object.keys(found!), ["hook", ...Object.keys(expected)]);
  assert.equal(found!.hook, hook);
  for (const [key, value] of Object.entries(expected) as [keyof Errors, number][]) {
    assert.ok(
      Math.abs(found![key]! - value) <= 1e-5 * Math.max(1, Math.abs(value)),
      `${key}: ${found![key]}, ${value}`,
    );
  }
};

onEachBackend("sparse autoencoders", () => {
  let expected: Map<string, ReferenceTensor>;
  let taps: ReadonlyMap<string, ReferenceTensor>;
  let model: PaliGemmaModel;
  let inputs: ReturnType<typeof modelInputs>;
  const saes: Record<string, JumpReluSae> = {};
  before(async () => {
    expected = await readTensors(path.join(folder, "expected.safetensors"));
    const reference = await readReference(path.join(fixtures, "references", "tiny-pg2", "prompt"));
    taps = reference.taps;
    inputs = modelInputs(reference);
    model = await tinyNetwork("tiny-pg2", { settings: EXACT });
    for (const name of Object.keys(about.hooks)) saes[name] = await loadSae(path.join(folder, `${name}.npz`));
    // What is made at first use exists now.
    run(noTap);
    for (const [name, { hook }] of Object.entries(about.hooks)) {
      const splice = spliceSae(saes[name], hook);
      run(splice);
      splice.dispose();
    }
  });
  after(() => {
    for (const sae of Object.values(saes)) sae.dispose();
    inputs.pixelValues.dispose();
    model.dispose();
  });

  const run = (tap: Tap) => tf.tidy(() => model.forward(inputs, { tap }).dataSync() as Float32Array);
  const activation = (hook: string) => tf.tensor(taps.get(hook)!.values, [...taps.get(hook)!.shape]);
  const resid = about.hooks.resid.hook;

  for (const [name, { hook }] of Object.entries(about.hooks)) {
    leakFree(`${name}: encode and decode equal the reference, with any leading axes`, () => {
      tf.tidy(() => {
        const x = activation(hook).reshape([2, 11, saes[name].width]);
        const [acts, reconstruction] = ["acts", "reconstruction"].map((part) => expected.get(`${name}.${part}`)!);
        const ours = saes[name].encode(x);
        assert.deepEqual(ours.shape, [2, 11, 96]);
        assert.ok(apart(ours.reshape([22, 96]), acts) < 1e-5);
        assert.ok(apart(saes[name].decode(ours).reshape([22, saes[name].width]), reconstruction) < 1e-5);
        // The same features are on: one that is off is exactly 0.
        ours.dataSync().forEach((value, i) => assert.equal(value > 0, acts.values[i] > 0));
      });
    });
  }

  it("a feature is on above its threshold and above 0 only", () => {
    const one = (threshold: number) =>
      tf.tidy(() => {
        const weights = {
          wEnc: tf.tensor2d([[1]]),
          wDec: tf.tensor2d([[1]]),
          bEnc: tf.tensor1d([0.5]),
          bDec: tf.tensor1d([7]),
          threshold: tf.tensor1d([threshold]),
        };
        const sae = new JumpReluSae("one", weights);
        return Array.from(sae.encode(tf.tensor2d([[-1], [-0.25], [0.5], [1]])).dataSync());
      });
    assert.deepEqual(one(1), [0, 0, 0, 1.5]); // pre 1 is not above 1
    assert.deepEqual(one(-0.75), [0, 0.25, 1, 1.5]); // pre -0.5 is above, and no activation
  });

  for (const [i, { sae, hook, logits, ...options }] of about.cases.entries()) {
    const title = `${options.edits!.length} edits, ${options.positions ? "some" : "all"} positions${options.keepError ? ", the error kept" : ""}`;
    leakFree(`case ${i}, ${sae}: the logits are those of transformers (${title})`, async () => {
      const splice = spliceSae(saes[sae], hook, { ...options, positions: options.positions ?? undefined });
      const ours = run(splice);
      const { scaled } = compare(ours, expected.get(logits)!.values as Float32Array);
      assert.ok(scaled < 2e-5, `${scaled}`);
      const [errors, ...more] = await splice.report();
      assert.deepEqual(more, []);
      const { errors: all, errors_there: there } = about.hooks[sae];
      sameErrors(errors, hook, options.positions ? there : all);
    });
  }

  it("with the error kept and nothing edited, the run is what it was", async () => {
    const splice = spliceSae(saes.resid, resid, { keepError: true });
    assert.deepEqual(run(splice), run(noTap));
    assert.equal((await splice.report()).length, 1);
  });

  it("edits of one feature follow one another", () => {
    const width = saes.resid.width;
    tf.tidy(() => {
      const x = activation(resid);
      const through = (edits: FeatureEdit[]) =>
        spliced(spliceSae(saes.resid, resid, { edits }), resid, x).reshape([22, width]);
      const plain = through([]);
      const edited = through([
        { feature: 3, op: "scale", factor: 5 },
        { feature: 3, op: "set", value: 2 },
        { feature: 3, op: "scale", factor: -2 },
      ]);
      const acts = saes.resid.encode(x).reshape([22, 96]);
      const change = tf.outerProduct(
        acts.slice([0, 3], [-1, 1]).squeeze([1]).neg().sub(4).as1D(),
        saes.resid.weights.wDec.slice([3, 0], [1, -1]).as1D(),
      );
      const { values } = { values: plain.add(change).dataSync() as Float32Array };
      assert.ok(apart(edited, { shape: [22, width], values }) < 1e-6);
      const undone = through([
        { feature: 3, op: "set", value: 5 },
        { feature: 3, op: "suppress" },
        { feature: 3, op: "scale", factor: 9 },
      ]);
      const off = through([{ feature: 3, op: "set", value: 0 }]);
      assert.deepEqual(undone.dataSync(), off.dataSync());
    });
  });

  /** What the tap makes of one activation; its report is thrown away. */
  function spliced(splice: ReturnType<typeof spliceSae>, hook: string, x: tf.Tensor): tf.Tensor {
    const result = splice(hook, x);
    splice.dispose();
    return result;
  }

  leakFree("what passes is counted each time; other hooks pass untouched and are not asked for", async () => {
    const splice = spliceSae(saes.z, about.hooks.z.hook);
    assert.deepEqual([about.hooks.z.hook, resid].map(splice.wants), [true, false]);
    const x = activation(resid);
    assert.equal(splice(resid, x), x);
    await assert.rejects(splice.report(), /sae: language\.blocks\.2\.attn\.hook_z has not fired/);
    run(splice);
    run(splice);
    const [first, second, ...more] = await splice.report();
    assert.deepEqual([first, more], [second, []]);
    await assert.rejects(splice.report(), InputError);
    x.dispose();
  });

  leakFree("a splice that is never asked for its report frees what it measured", () => {
    const splice = spliceSae(saes.resid, resid);
    run(splice);
    splice.dispose();
  });

  it("the variance of a single row is unknown, and a row of zeros points nowhere", async () => {
    const splice = spliceSae(saes.resid, resid);
    for (const shape of [
      [1, 1, 32],
      [1, 2, 32],
    ])
      tf.tidy(() => void splice(resid, tf.zeros(shape)));
    tf.tidy(() => void splice(resid, activation(resid).slice([0, 5, 0], [1, 1, 32])));
    const [zero, zeros, one] = await splice.report();
    assert.deepEqual([zero.rows, zero.varianceUnexplained, zero.cosine], [1, null, 0]);
    assert.deepEqual([zeros.rows, zeros.varianceUnexplained, zeros.cosine], [2, null, 0]);
    assert.equal(one.varianceUnexplained, null);
    assert.ok(one.cosine > 0.5);
  });

  describe("what does not fit is refused", () => {
    const refused = (sae: JumpReluSae, hook: string, shape: number[], pattern: RegExp, options?: SpliceOptions) => {
      const before = counts();
      tf.tidy(() => {
        assert.throws(
          () => spliceSae(sae, hook, options)(hook, tf.zeros(shape)),
          (error: Error) => error instanceof InputError && pattern.test(error.message),
        );
      });
      assert.deepEqual(counts(), before);
    };

    it("an activation of another width, naming hook, expected and received", () => {
      const both =
        /sae: language\.blocks\.0\.mlp\.hook_pre is \[1, 22, 48\], 48 wide; .*resid\.npz expects a width of 32/;
      refused(saes.resid, "language.blocks.0.mlp.hook_pre", [1, 22, 48], both);
      refused(saes.resid, about.hooks.z.hook, [1, 22, 4, 16], /64 wide.*expects a width of 32/);
    });

    it("scores and patterns, whose last axes are no width", () => {
      const hook = "language.blocks.0.attn.hook_pattern";
      refused(saes.resid, hook, [1, 4, 8, 4], /\[1, 4, 8, 4\], which has no rows to encode/);
      refused(saes.resid, "x", [22, 32], /no rows to encode/);
    });

    it("positions that are not there", () => {
      for (const position of [22, -23, 1.5, NaN]) {
        refused(saes.resid, resid, [1, 22, 32], /positions of .* in \[-22, 22\), received/, { positions: [position] });
      }
      refused(saes.resid, resid, [1, 22, 32], /at least one position/, { positions: [] });
    });

    it("features and operations that are not there", () => {
      const edit = (edits: unknown[], pattern: RegExp) =>
        assert.throws(
          () => spliceSae(saes.resid, resid, { edits: edits as FeatureEdit[] }),
          (error: Error) => error instanceof InputError && pattern.test(error.message),
        );
      const good = { feature: 0, op: "suppress" };
      for (const feature of [96, -1, 0.5, "3", undefined]) {
        edit([good, { feature, op: "suppress" }], /edits\[1\]\.feature: expected a feature in \[0, 96\)/);
      }
      edit([{ feature: 1, op: "add", value: 1 }], /edits\[0\]\.op: expected suppress, scale or set, received "add"/);
      edit([{ feature: 1, op: "scale" }], /edits\[0\]\.factor: expected a number, received undefined/);
      edit([{ feature: 1, op: "set", value: Infinity }], /edits\[0\]\.value: expected a number, received Infinity/);
    });

    it("rows of another width", () => {
      tf.tidy(() => {
        const x = tf.zeros([2, 96]);
        assert.throws(() => saes.resid.encode(x), /resid\.npz encodes \[\.\.\., 32\], received \[2, 96\]/);
        assert.throws(() => saes.resid.decode(tf.zeros([2, 32])), /decodes \[\.\.\., 96\], received \[2, 32\]/);
      });
    });
  });
});

describe("files of sparse autoencoders", () => {
  const f32 = (...shape: number[]): TensorData => ({
    dtype: "F32",
    shape,
    data: new Float32Array(shape.reduce((size, axis) => size * axis, 1)),
  });
  const good = { w_enc: f32(3, 5), w_dec: f32(5, 3), b_enc: f32(5), b_dec: f32(3), threshold: f32(5) };

  const refused = (arrays: Record<string, TensorData>, pattern: RegExp) =>
    withFolder({ "params.npz": encodeNpz(new Map(Object.entries(arrays))) }, async (at) => {
      const before = tf.memory().numTensors;
      await assert.rejects(loadSae(path.join(at, "params.npz")), weightsError(/params\.npz: /, pattern));
      assert.equal(tf.memory().numTensors, before);
    });

  it("need all five arrays, of shapes that fit", async () => {
    const { threshold, ...rest } = good;
    await refused(rest, /no array "threshold", it holds "w_enc"/);
    await refused(
      { ...good, w_dec: f32(3, 5) },
      /"w_dec" has shape \[3, 5\], expected \[5, 3\] beside "w_enc" \[3, 5\]/,
    );
    await refused({ ...good, b_dec: f32(5) }, /"b_dec" has shape \[5\], expected \[3\]/);
    await refused({ ...good, w_enc: f32(15) }, /"w_enc" has shape \[15\], expected \[width, features\]/);
    await refused({ ...good, threshold: f32() }, /"threshold" has shape \[\], expected \[5\]/);
    assert.equal(threshold.shape.length, 1);
  });

  it("are refused with other numbers, or with arrays of another kind of autoencoder", async () => {
    await refused({ ...good, b_enc: { dtype: "F64", shape: [5], data: new Float64Array(5) } }, /"b_enc" is F64/);
    await refused({ ...good, w_skip: f32(3, 3) }, /"w_skip" is none of w_enc.*another kind/);
  });

  it("of 16 bit are widened", async () => {
    const half: TensorData = { dtype: "F16", shape: [5], data: Uint8Array.of(0, 0x3c, 0, 0xc0, 0, 0, 0, 0, 0, 0) };
    const brain: TensorData = { dtype: "BF16", shape: [3], data: Uint8Array.of(0x80, 0x3f, 0x20, 0xc0, 0, 0) };
    const arrays = new Map<string, TensorData>(Object.entries({ ...good, b_enc: half, b_dec: brain }));
    await withFolder({ "params.npz": encodeNpz(arrays) }, async (at) => {
      const sae = await loadSae(path.join(at, "params.npz"));
      assert.deepEqual([sae.width, sae.features], [3, 5]);
      assert.deepEqual(Array.from(sae.weights.bEnc.dataSync()), [1, -2, 0, 0, 0]);
      assert.deepEqual(Array.from(sae.weights.bDec.dataSync()), [1, -2.5, 0]);
      sae.dispose();
    });
  });
});
