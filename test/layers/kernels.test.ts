import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import { it } from "mocha";
import seedrandom from "seedrandom";

import { MASKED } from "../../layers/axes.js";
import { GatedMLP } from "../../layers/gated-mlp.js";
import { dense } from "../../layers/stored.js";
import { type OneResult, runKernel, runKernels } from "../../layers/kernel.js";
import type { KernelAddon } from "../../src/backends/native/kernel-addon.js";
import { kernelAddon } from "../../src/backends/native/kernels.js";
import { MappingHolder } from "../../src/backends/native/weight-holder.js";
import { type FloatDType, fromFloat32, toFloat32 } from "../../weights/dtype.js";
import { counts, withKernels } from "../support/backends.js";
import { mappable } from "../support/mappable.js";

const DTYPES: FloatDType[] = ["BF16", "F16", "F32"];

/** Numbers of a normal distribution, the same for the same seed. */
function normal(count: number, seed: string, scale = 1): Float32Array {
  const random = seedrandom(seed);
  return Float32Array.from({ length: count }, () => {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    return scale * radius * Math.cos(2 * Math.PI * random());
  });
}

const gelu = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** x·Wᵀ in float64; x [m, k], w [n, k]. */
function product(x: ArrayLike<number>, w: ArrayLike<number>, m: number, n: number, k: number): Float64Array {
  const y = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    for (let out = 0; out < n; out++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += x[row * k + i] * w[out * k + i];
      y[row * n + out] = sum;
    }
  }
  return y;
}

/** Largest difference relative to the largest value of the reference. */
function distance(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  assert.equal(actual.length, expected.length);
  let [worst, peak] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const apart = Math.abs(actual[i] - expected[i]);
    worst = apart > worst || Number.isNaN(apart) ? apart : worst;
    peak = Math.max(peak, Math.abs(expected[i]));
  }
  return worst / peak;
}

function closeTo(actual: tf.Tensor | null, expected: ArrayLike<number>, limit: number, what: string): void {
  assert.ok(actual, `${what}: there is no such kernel`);
  const measured = distance(actual.dataSync(), expected);
  assert.ok(measured <= limit, `${what}: differs by ${measured}, limit ${limit}`);
}

function run(name: OneResult, inputs: Record<string, tf.Tensor>, attributes: Record<string, number> = {}): tf.Tensor {
  const untyped = runKernel as (...call: [OneResult, typeof inputs, typeof attributes]) => tf.Tensor | null;
  const result = untyped(name, inputs, attributes);
  assert.ok(result, `there is no kernel ${name}`);
  return result;
}

/** Runs `body` for each instruction set of this processor; a leak fails. */
function onEachSet(title: string, body: (addon: KernelAddon) => void): void {
  it(title, () => {
    const addon = kernelAddon()!;
    try {
      for (const set of addon.info().available) {
        assert.ok(addon.select(set));
        const before = { ...counts(), weights: addon.info().weights };
        tf.tidy(() => body(addon));
        assert.deepEqual({ ...counts(), weights: addon.info().weights }, before, `${set}: something was not freed`);
      }
    } finally {
      addon.select("");
    }
  });
}

/**
 * Whether an instruction set rounds activations in coarse products of many rows: where bfloat16 are multiplied faster.
 */
const rounds = (instructions: string, dtype: FloatDType): boolean =>
  dtype !== "F32" && (instructions === "amx" || (instructions === "avx512bf16" && dtype === "BF16"));

/** A matrix that stays in a mapped file, two bytes off every alignment, and its numbers. */
function held(addon: KernelAddon, dtype: FloatDType, values: Float32Array, shape: number[]) {
  const bytes = fromFloat32(values, dtype);
  const place = path.join(folder, "weights");
  rmSync(place, { force: true }); // an older mapping keeps the older file
  writeFileSync(place, Buffer.concat([Buffer.alloc(2), bytes]));
  const file = mappable(place);
  const holder = new MappingHolder(addon, null);
  const w = holder.mapped(file, { name: "w", dtype, shape, start: 2, end: 2 + bytes.length });
  holder.close();
  file.close();
  return { w, numbers: toFloat32(bytes, dtype) };
}

/** Makes matrices [rows, cols] whose products with numbers around 1 are around 1, the same for the same name. */
const weightsOf = (addon: KernelAddon, dtype: FloatDType) => (name: string, rows: number, cols: number) =>
  held(addon, dtype, normal(rows * cols, name, 1 / Math.sqrt(cols)), [rows, cols]);

/** How far an MLP of m rows may be from float64. */
function mlpLimit(instructions: string, dtype: FloatDType, { coarse, m }: { coarse: number; m: number }): number {
  if (coarse !== 0 && rounds(instructions, dtype) && m > 4) return 1e-2;
  return instructions === "amx" ? 8e-6 : 2e-6;
}

let folder: string;

withKernels("kernels of the tensorflow backend", () => {
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), "kernels-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  const sizes = [
    { m: 1, n: 1, k: 1 },
    { m: 1, n: 37, k: 72 },
    { m: 2, n: 5, k: 31 },
    { m: 3, n: 100, k: 24 },
    { m: 4, n: 33, k: 257 },
    { m: 7, n: 16, k: 130 },
    { m: 9, n: 17, k: 48 },
    { m: 17, n: 31, k: 65 },
    { m: 33, n: 130, k: 300 },
    { m: 70, n: 65, k: 1152 },
    { m: 515, n: 34, k: 40 },
  ];

  for (const dtype of DTYPES) {
    onEachSet(
      `linear is x·Wᵀ + bias as accurate as sums of float32 are, W in ${dtype}, whatever the sizes`,
      (addon) => {
        for (const { m, n, k } of sizes) {
          const [x, bias] = [normal(m * k, "x"), normal(n, "b")];
          const { w, numbers } = held(addon, dtype, normal(n * k, "w", 1 / Math.sqrt(k)), [n, k]);
          const expected = product(x, numbers, m, n, k);
          const what = `${addon.info().instructions} [${m}, ${k}] · [${n}, ${k}]`;
          // The tile unit takes 17 bits of an activation, or more, for weights in 16 bit.
          const limit = addon.info().instructions === "amx" && dtype !== "F32" ? 4e-6 : 1e-6;
          closeTo(
            run("PaligemmaLinear", { x: tf.tensor(x, [m, k]), w }, { activation: 0, coarse: 0, inner: 1 }),
            expected,
            limit,
            what,
          );
          const activated = expected.map((value, i) => gelu(value + bias[i % n]));
          const operands = { x: tf.tensor(x, [m, k]), w, bias: tf.tensor(bias) };
          closeTo(
            run("PaligemmaLinearBias", operands, { activation: 1, coarse: 0, inner: 1 }),
            activated,
            limit,
            `${what} with bias and GELU`,
          );
        }
      },
    );

    onEachSet(`gatedMlp is down(gelu(gate(x)) · up(x)), and step by step has the same bits, in ${dtype}`, (addon) => {
      for (const [m, D, F, coarse] of [
        [1, 37, 70, 0],
        [3, 64, 33, 1],
        [6, 40, 48, 0],
        [6, 40, 48, 1],
        [19, 65, 130, 0],
        [19, 65, 131, 1],
        [530, 24, 50, 0],
        [530, 24, 50, 1],
        [15, 1031, 20, 1],
        [16, 24, 600, 1],
        [31, 20, 430, 0],
      ]) {
        const x = normal(m * D, "x");
        const part = weightsOf(addon, dtype);
        const [gate, up, down] = [part("gate", F, D), part("up", F, D), part("down", D, F)];
        const hidden = product(x, up.numbers, m, F, D);
        product(x, gate.numbers, m, F, D).forEach((value, i) => (hidden[i] *= gelu(value)));
        const what = `${addon.info().instructions} ${m} rows, ${D} -> ${F}`;
        const operand = tf.tensor(x, [m, D]);
        const linear = (input: tf.Tensor, w: tf.Tensor) =>
          run("PaligemmaLinear", { x: input, w }, { activation: 0, coarse, inner: 1 });
        const whole = run(
          "PaligemmaGatedMlp",
          { x: operand, gate: gate.w, up: up.w, down: down.w },
          { coarse, among: 0 },
        );
        const limit = mlpLimit(addon.info().instructions, dtype, { coarse, m });
        closeTo(whole, product(hidden, down.numbers, m, D, F), limit, what);
        const last = operand.slice([m - 1, 0]);
        const alone = run("PaligemmaGatedMlp", { x: last, gate: gate.w, up: up.w, down: down.w }, { coarse, among: m });
        if (m > 8) assert.deepEqual(alone.dataSync(), whole.dataSync().slice(-D), `${what}, the last row alone`);
        const inner = tf.mul(run("PaligemmaGelu", { x: linear(operand, gate.w) }), linear(operand, up.w));
        assert.deepEqual(linear(inner, down.w).dataSync(), whole.dataSync(), what);
      }
    });

    onEachSet(`mlp is fc2(gelu(fc1(x))) with biases, and step by step has the same bits, in ${dtype}`, (addon) => {
      for (const [m, D, F, coarse] of [
        [1, 37, 70, 0],
        [8, 64, 33, 1],
        [9, 40, 47, 1],
        [19, 65, 130, 0],
        [19, 65, 131, 1],
        [31, 20, 430, 0],
        [530, 24, 50, 1],
        [15, 1031, 20, 1],
      ]) {
        const part = weightsOf(addon, dtype);
        const [fc1, fc2] = [part("fc1", F, D), part("fc2", D, F)];
        const [x, b1, b2] = [normal(m * D, "x"), normal(F, "b1"), normal(D, "b2")];
        const [input, bias1, bias2] = [tf.tensor(x, [1, m, D]), tf.tensor(b1), tf.tensor(b2)];
        const whole = run("PaligemmaMlp", { x: input, fc1: fc1.w, bias1, fc2: fc2.w, bias2 }, { coarse });
        const { instructions } = addon.info();
        const what = `${instructions} ${m} rows, ${D} -> ${F}`;
        assert.deepEqual(whole.shape, [1, m, D], what);
        const hidden = product(x, fc1.numbers, m, F, D).map((sum, i) => gelu(sum + b1[i % F]));
        const expected = product(hidden, fc2.numbers, m, D, F).map((sum, i) => sum + b2[i % D]);
        closeTo(whole, expected, mlpLimit(instructions, dtype, { coarse, m }), what);
        const linear = (operand: tf.Tensor, w: tf.Tensor, bias: tf.Tensor, activation: number) =>
          run("PaligemmaLinearBias", { x: operand, w, bias }, { activation, coarse, inner: 1 });
        const steps = linear(linear(input, fc1.w, bias1, 1), fc2.w, bias2, 0);
        assert.deepEqual(whole.dataSync(), steps.dataSync(), what);
      }
    });

    onEachSet(
      `heads are the products with three weights, each with the bits that it has alone, in ${dtype}`,
      (addon) => {
        for (const [m, k, headDim, coarse] of [
          [1, 37, 5, 0],
          [8, 70, 3, 1],
          [9, 48, 16, 1],
          [33, 300, 40, 0],
          [70, 65, 12, 1],
          [517, 24, 7, 1],
        ]) {
          const x = tf.tensor(normal(m * k, "x"), [1, m, k]);
          const parts = [8, 3, 1].map((heads) => ({
            heads,
            ...held(addon, dtype, normal(heads * headDim * k, `w${heads}`, 1 / Math.sqrt(k)), [heads * headDim, k]),
            bias: tf.tensor(normal(heads * headDim, `b${heads}`)),
          }));
          const [q, key, v] = parts.map(({ w }) => w);
          const [qBias, kBias, vBias] = parts.map(({ bias }) => bias);
          const plain = runKernels("PaligemmaHeads", { x, q, k: key, v }, { headDim, coarse })!;
          const biased = { x, q, k: key, v, qBias, kBias, vBias };
          const shifted = runKernels("PaligemmaHeadsBias", biased, { headDim, coarse })!;
          const alone = { activation: 0, coarse, inner: 1 };
          for (const [i, { heads, w, bias }] of parts.entries()) {
            const what = `${addon.info().instructions} [${m}, ${k}], ${heads} heads of ${headDim}`;
            assert.deepEqual([plain[i].shape, shifted[i].shape], Array(2).fill([1, m, heads, headDim]), what);
            assert.deepEqual(plain[i].dataSync(), run("PaligemmaLinear", { x, w }, alone).dataSync(), what);
            assert.deepEqual(shifted[i].dataSync(), run("PaligemmaLinearBias", { x, w, bias }, alone).dataSync(), what);
          }
        }
      },
    );

    onEachSet(`embed and widen give the stored numbers, in ${dtype}`, (addon) => {
      const [V, D] = [11, 37];
      const { w, numbers } = held(addon, dtype, normal(V * D, "table"), [V, D]);
      const ids = [3, 0, 10, 3];
      const rows = run("PaligemmaEmbed", { ids: tf.tensor2d([ids], [1, 4], "int32"), w }, { scale: 3 });
      assert.deepEqual(rows.shape, [1, 4, D]);
      const expected = ids.flatMap((id) => [...numbers.subarray(id * D, (id + 1) * D)].map((x) => Math.fround(x * 3)));
      assert.deepEqual([...rows.dataSync()], expected);
      assert.deepEqual(dense(w).dataSync(), numbers);
    });
  }

  onEachSet("a coarse product rounds activations to bfloat16 at most, and those of float32 weights never", (addon) => {
    const [m, n, k] = [21, 37, 70];
    const x = normal(m * k, "x");
    const rounded = toFloat32(fromFloat32(x, "BF16"), "BF16");
    for (const dtype of DTYPES) {
      const { w, numbers } = held(addon, dtype, normal(n * k, "w"), [n, k]);
      const y = run("PaligemmaLinear", { x: tf.tensor(x, [m, k]), w }, { activation: 0, coarse: 1, inner: 1 });
      const { instructions } = addon.info();
      const expected = product(rounds(instructions, dtype) ? rounded : x, numbers, m, n, k);
      closeTo(y, expected, 1e-6, `${instructions} ${dtype}`);
    }
  });

  onEachSet("linear takes an ordinary tensor as the weight, of any rank", () => {
    const [x, w] = [normal(3 * 20, "x"), normal(5 * 20, "w")];
    const weight = tf.tensor(w, [5, 2, 5, 2]);
    const y = run(
      "PaligemmaLinear",
      { x: tf.tensor(x, [3, 1, 20]), w: weight },
      { activation: 0, coarse: 0, inner: 1 },
    );
    assert.deepEqual(y.shape, [3, 1, 5]);
    closeTo(y, product(x, w, 3, 5, 20), 1e-6, "linear");
  });

  onEachSet("linear takes the last axes of x as one where they are in's together", () => {
    const [x, w] = [tf.tensor(normal(2 * 3 * 4 * 5, "x"), [2, 3, 4, 5]), tf.tensor(normal(7 * 20, "w"), [7, 20])];
    const y = run("PaligemmaLinear", { x, w }, { activation: 0, coarse: 0, inner: 2 });
    assert.deepEqual(y.shape, [2, 3, 7]);
    closeTo(y, product(x.dataSync(), w.dataSync(), 6, 7, 20), 1e-6, "linear");
  });

  onEachSet("the norms divide by the root, and step by step have the same bits", () => {
    const eps = 1e-2;
    for (const [m, D] of [
      [1, 5],
      [3, 64],
      [7, 257],
      [40, 1152],
    ]) {
      const [x, w, b] = [normal(m * D, "x", 0.3).map((v) => v + 0.5), normal(D, "w"), normal(D, "b")];
      const mean = (values: Float64Array) => values.reduce((sum, v) => sum + v, 0) / D;
      const eachRow = (body: (row: Float64Array) => Float64Array) =>
        Array.from({ length: m }, (_, row) => [...body(Float64Array.from(x.subarray(row * D, (row + 1) * D)))]).flat();
      const rms = eachRow((row) => {
        const scale = Math.sqrt(mean(row.map((v) => v * v)) + eps);
        return row.map((v, i) => (v / scale) * (1 + w[i]));
      });
      const layer = eachRow((row) => {
        const centre = mean(row);
        const scale = Math.sqrt(mean(row.map((v) => (v - centre) ** 2)) + eps);
        return row.map((v, i) => ((v - centre) / scale) * w[i] + b[i]);
      });
      const [input, weight, bias] = [tf.tensor(x, [m, D]), tf.tensor(w), tf.tensor(b)];
      const rmsWhole = run("PaligemmaRmsNorm", { x: input, weight }, { eps });
      closeTo(rmsWhole, rms, 1e-6, `rmsNorm ${D}`);
      const rmsScale = run("PaligemmaRmsScale", { x: input }, { eps });
      assert.deepEqual(rmsScale.shape, [m, 1]);
      const rmsSteps = run("PaligemmaRmsScaled", { x: input, scale: rmsScale, weight });
      assert.deepEqual(rmsSteps.dataSync(), rmsWhole.dataSync());
      const layerWhole = run("PaligemmaLayerNorm", { x: input, weight, bias }, { eps });
      closeTo(layerWhole, layer, 1e-6, `layerNorm ${D}`);
      const scale = run("PaligemmaLayerScale", { x: input }, { eps });
      assert.deepEqual(
        run("PaligemmaLayerScaled", { x: input, scale, weight, bias }).dataSync(),
        layerWhole.dataSync(),
      );
    }
  });

  onEachSet("a row that the gated MLP says it can compute without the others has the same bits alone", (addon) => {
    const [D, F] = [64, 33];
    const mlp = new GatedMLP({ hiddenSize: D, intermediateSize: F });
    mlp.apply(tf.zeros([1, 1, D]));
    mlp.setWeights(mlp.getWeights().map(({ shape, size }, i) => tf.tensor(normal(size, `w${i}`), shape)));
    for (let among = 1; among <= 12; among++) {
      const x = tf.tensor(normal(among * D, "x"), [1, among, D]);
      const last = mlp.apply(x.slice([0, among - 1, 0]), { among }) as tf.Tensor;
      const same = () => assert.deepEqual(last.dataSync(), (mlp.apply(x) as tf.Tensor).dataSync().slice(-D));
      if (mlp.canComputeSome(among)) same();
    }
    assert.ok(mlp.canComputeSome(12) && !mlp.canComputeSome(3), addon.info().instructions);
    mlp.dispose();
  });

  onEachSet("lastRow is the last position of each row", () => {
    const x = tf.tensor(normal(2 * 3 * 5, "x"), [2, 3, 5]);
    const last = run("PaligemmaLastRow", { x });
    assert.deepEqual(last.shape, [2, 1, 5]);
    assert.deepEqual(last.dataSync(), x.slice([0, 2, 0]).dataSync());
  });

  onEachSet("gelu and softcap keep small values and saturate at large ones", () => {
    const x = Float32Array.from([0, 1e-30, -1e-6, 1e-3, 0.02, -0.5, 1, -3, 5, -9, 40, -40, 1e4, -1e4, 3e38, -3e38]);
    const relative = (actual: tf.Tensor, expected: (v: number) => number, name: string) =>
      actual.dataSync().forEach((got, i) => {
        const want = expected(x[i]);
        const limit = 1e-6 * Math.abs(want) + 1e-37;
        assert.ok(Math.abs(got - want) <= limit, `${name}(${x[i]}) = ${got}, expected ${want}`);
      });
    relative(run("PaligemmaSoftcap", { x: tf.tensor(x) }, { softcap: 30 }), (v) => 30 * Math.tanh(v / 30), "softcap");
    const y = run("PaligemmaGelu", { x: tf.tensor(x.filter((v) => Math.abs(v) < 1e5)) }).dataSync();
    y.forEach((got, i) =>
      assert.ok(Math.abs(got - gelu(x[i])) <= 1e-6 * Math.max(1e-6, Math.abs(x[i])), `gelu(${x[i]}) = ${got}`),
    );
  });

  onEachSet("rope turns the pairs (i, i + H/2)", () => {
    const [B, T, N, H] = [2, 3, 5, 6];
    const [x, angle] = [normal(B * T * N * H, "x"), normal((B * T * H) / 2, "angle")];
    const angles = (f: (a: number) => number) =>
      Float32Array.from({ length: B * T * H }, (_, i) => f(angle[Math.floor(i / H) * (H / 2) + (i % (H / 2))]));
    const [cos, sin] = [angles(Math.cos), angles(Math.sin)];
    const expected = Array.from(x, (v, i) => {
      const [h, at] = [i % H, Math.floor(i / (N * H)) * H + (i % H)];
      const partner = h < H / 2 ? -x[i + H / 2] : x[i - H / 2];
      return v * cos[at] + partner * sin[at];
    });
    const tables = { cos: tf.tensor(cos, [B, T, H]), sin: tf.tensor(sin, [B, T, H]) };
    closeTo(run("PaligemmaRope", { x: tf.tensor(x, [B, T, N, H]), ...tables }), expected, 1e-6, "rope");
  });

  /** Attention in float64, with its scores and pattern. */
  function attention(sizes: Sizes, q: Float32Array, k: Float32Array, v: Float32Array, mask: Float32Array | null) {
    const { B, T, S, C, N, K, H, scale, softcap } = sizes;
    const [scores, pattern, z] = [
      new Float64Array(B * N * T * S),
      new Float64Array(B * N * T * S),
      new Float64Array(B * T * N * H),
    ];
    for (let b = 0; b < B; b++) {
      for (let n = 0; n < N; n++) {
        const head = Math.floor(n / (N / K));
        for (let t = 0; t < T; t++) {
          const row = ((b * N + n) * T + t) * S;
          for (let s = 0; s < S; s++) {
            let dot = 0;
            for (let h = 0; h < H; h++) dot += q[((b * T + t) * N + n) * H + h] * k[((b * C + s) * K + head) * H + h];
            dot *= scale;
            if (softcap > 0) dot = softcap * Math.tanh(dot / softcap);
            // In float32 the closed value swallows the score, so that a wholly closed row is uniform.
            scores[row + s] = Math.fround(dot + (mask ? mask[(b * T + t) * S + s] : 0));
          }
          const top = Math.max(...scores.subarray(row, row + S));
          const total = scores.subarray(row, row + S).reduce((sum, x) => sum + Math.exp(x - top), 0);
          for (let s = 0; s < S; s++) {
            pattern[row + s] = Math.exp(scores[row + s] - top) / total;
            for (let h = 0; h < H; h++)
              z[((b * T + t) * N + n) * H + h] += pattern[row + s] * v[((b * C + s) * K + head) * H + h];
          }
        }
      }
    }
    return { scores, pattern, z };
  }
  type Sizes = {
    B: number;
    T: number;
    S: number;
    C: number;
    N: number;
    K: number;
    H: number;
    scale: number;
    softcap: number;
  };

  const attentions: Sizes[] = [
    { B: 2, T: 5, S: 9, C: 12, N: 4, K: 2, H: 6, scale: 0.4, softcap: 2 },
    { B: 1, T: 1, S: 1, C: 1, N: 1, K: 1, H: 3, scale: 1, softcap: 0 },
    { B: 1, T: 1, S: 700, C: 701, N: 8, K: 1, H: 40, scale: 0.2, softcap: 0 },
    { B: 1, T: 1, S: 300, C: 400, N: 8, K: 4, H: 72, scale: 0.2, softcap: 5 },
    { B: 3, T: 17, S: 17, C: 17, N: 3, K: 3, H: 72, scale: 0.1, softcap: 0 },
    { B: 1, T: 40, S: 77, C: 90, N: 6, K: 2, H: 33, scale: 0.3, softcap: 4 },
    { B: 2, T: 19, S: 150, C: 160, N: 4, K: 2, H: 104, scale: 0.2, softcap: 3 },
    { B: 1, T: 1, S: 400, C: 410, N: 6, K: 1, H: 96, scale: 0.2, softcap: 0 },
  ];

  for (const masked of [true, false]) {
    onEachSet(
      `attend is softmax(softcap(q·kᵀ)${masked ? " + mask" : ""})·v, and step by step has the same bits`,
      (addon) => {
        for (const sizes of attentions) {
          const { B, T, S, N, K, H, scale, softcap } = sizes;
          const C = masked ? sizes.C : S;
          const [q, k, v] = [normal(B * T * N * H, "q"), normal(B * C * K * H, "k"), normal(B * C * K * H, "v")];
          const random = seedrandom("mask");
          const mask = Float32Array.from({ length: B * T * S }, () => (random() < 0.3 ? MASKED : 0));
          if (T > 1) mask.fill(MASKED, 0, S); // a query that sees nothing
          const expected = attention({ ...sizes, C }, q, k, v, masked ? mask : null);
          const inputs = { q: tf.tensor(q, [B, T, N, H]), k: tf.tensor(k, [B, C, K, H]) };
          const values = tf.tensor(v, [B, C, K, H]);
          const open: Record<string, tf.Tensor> = masked ? { mask: tf.tensor(mask, [B, 1, T, S]) } : {};
          const suffix = masked ? "" : "Open";
          const whole = run(
            `PaligemmaAttend${suffix}` as OneResult,
            { ...inputs, v: values, ...open },
            { scale, softcap },
          );
          const what = `${addon.info().instructions} ${JSON.stringify(sizes)}`;
          closeTo(whole, expected.z, 2e-6, what);
          const scores = run(`PaligemmaScores${suffix}` as OneResult, { ...inputs, ...open }, { scale, softcap });
          closeTo(scores, expected.scores, 2e-6, `scores ${what}`);
          const pattern = run("PaligemmaSoftmax", { x: scores });
          closeTo(pattern, expected.pattern, 2e-6, `pattern ${what}`);
          const hidden = expected.scores.map((score) => (score < MASKED / 2 ? 1 : 0));
          if (masked && T === 1)
            pattern.dataSync().forEach((p, i) => assert.ok(hidden[i] === 0 || p === 0, "closed cells are 0"));
          assert.deepEqual(run("PaligemmaMix", { pattern, v: values }).dataSync(), whole.dataSync(), what);
        }
      },
    );
  }

  onEachSet("room is a tensor of the shape asked for, to be filled", () => {
    const [room, x] = [run("PaligemmaRoom", { shape: tf.tensor1d([1, 5, 2, 3], "int32") }), tf.ones([1, 5, 2, 3])];
    assert.deepEqual([room.shape, room.dtype], [[1, 5, 2, 3], "float32"]);
    run("PaligemmaWriteCache", { keys: room, values: x, k: x, v: x, position: tf.tensor1d([0], "int32") });
    assert.deepEqual(room.dataSync(), x.dataSync());
  });

  onEachSet("writeCache fills the positions asked for and no other", () => {
    const [B, C, K, H, T] = [2, 7, 3, 4, 2];
    const [keys, values] = [tf.fill([B, C, K, H], 1), tf.fill([B, C, K, H], 2)];
    const [k, v] = [
      tf.tensor(normal(B * T * K * H, "k"), [B, T, K, H]),
      tf.tensor(normal(B * T * K * H, "v"), [B, T, K, H]),
    ];
    run("PaligemmaWriteCache", { keys, values, k, v, position: tf.tensor1d([4], "int32") });
    const expected = (old: number, fresh: tf.Tensor) =>
      tf.concat([tf.fill([B, 4, K, H], old), fresh, tf.fill([B, 1, K, H], old)], 1).dataSync();
    assert.deepEqual(keys.dataSync(), expected(1, k));
    assert.deepEqual(values.dataSync(), expected(2, v));
  });

  onEachSet("operands that do not fit are refused, and the reason says which", (addon) => {
    const x = tf.ones([2, 5]);
    const { w } = held(addon, "BF16", normal(12, "w"), [3, 4]);
    assert.throws(
      () => runKernel("PaligemmaLinear", { x, w }, { activation: 0, coarse: 0, inner: 1 }),
      /last axis of x/,
    );
    for (const inner of [0, 3]) {
      const attributes = { activation: 0, coarse: 0, inner };
      assert.throws(() => runKernel("PaligemmaLinear", { x: tf.ones([3, 4]), w }, attributes), /last axis of x/);
    }
    const rows = tf.ones([2, 4]);
    const heads =
      (k: tf.Tensor, headDim: number, x = rows) =>
      () =>
        runKernels("PaligemmaHeads", { x, q: w, k, v: w }, { headDim, coarse: 0 });
    assert.throws(heads(tf.ones([3, 4]), 3), /of different types/);
    assert.throws(heads(w, 2), /whole heads/);
    assert.throws(heads(w, 0), /whole heads/);
    assert.throws(heads(w, 3, x), /last axis of x/);
    const biases = { qBias: tf.ones([3]), kBias: tf.ones([3]), vBias: tf.ones([4]) };
    assert.throws(
      () => runKernels("PaligemmaHeadsBias", { x: rows, q: w, k: w, v: w, ...biases }, { headDim: 3, coarse: 0 }),
      /a bias is not as long/,
    );
    const mlp = { fc1: w, bias1: tf.ones([3]), fc2: tf.ones([4, 3]), bias2: tf.ones([3]) };
    assert.throws(() => runKernel("PaligemmaMlp", { x: rows, ...mlp }, { coarse: 0 }), /the biases do not fit/);
    const tables = { first: rows, second: tf.ones([1, 4]) };
    for (const at of [-1, 3]) {
      const index = tf.tensor1d([at], "int32");
      assert.throws(() => runKernel("PaligemmaPick", { ...tables, index }), /outside the tables/);
    }
    const index = tf.tensor1d([0], "int32");
    assert.throws(() => runKernel("PaligemmaPick", { ...tables, second: x, index }), /last axes of the tables/);
    const closed = { window: -1, queries: 3, masked: MASKED };
    assert.throws(() => runKernel("PaligemmaMask", { real: x, types: rows }, closed), /expected real and types/);
    assert.throws(() => runKernel("PaligemmaMask", { real: tf.ones([1, 2]), types: tf.ones([1, 2]) }, closed), /<= S/);
    const ids = tf.tensor1d([3], "int32");
    assert.throws(() => runKernel("PaligemmaEmbed", { ids, w }, { scale: 1 }), /outside the table/);
    const [keys, k, position] = [tf.ones([1, 3, 1, 2]), tf.ones([1, 2, 1, 2]), tf.tensor1d([2], "int32")];
    const write = { keys, values: keys.clone(), k, v: k.clone(), position };
    assert.throws(() => runKernel("PaligemmaWriteCache", write), /do not fit the cache/);
    assert.throws(() => tf.matMul(w as tf.Tensor2D, tf.ones([4, 2])), Error, "an operation of TensorFlow's own");
  });

  onEachSet("an operation of TensorFlow's own sees what the kernels before it have written", () => {
    const n = 1 << 20;
    let x: tf.Tensor = tf.ones([n]);
    for (let i = 0; i < 8; i++) x = run("PaligemmaAdd", { a: x, b: x });
    assert.equal(x.sum().dataSync()[0], 256 * n);
  });

  it("an instruction set that this processor has not got is not chosen", () => {
    assert.equal(kernelAddon()!.select("none"), false);
  });
});
