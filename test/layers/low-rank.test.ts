import { strict as assert } from "node:assert";

import * as tf from "@tensorflow/tfjs";

import { type LowRank, lowRankNorms } from "../../layers/low-rank.js";
import { Matrix } from "../../layers/matrix.js";
import { otherBaseTable } from "../../src/adapters/base-table.js";
import { mergedTensor } from "../../src/adapters/merge.js";
import type { AdapterFile, PlacedTensor } from "../../weights/adapter/adapter-file.js";
import { compare } from "../parity/compare.js";
import { leakFree, onEachBackend } from "../support/backends.js";
import { random } from "./cases.js";

// More rows than are taken at once, and no multiple of that.
const [OUT, IN, R, N] = [9000, 5, 3, 4];

onEachBackend("a matrix with low-rank parts", () => {
  const constant = (tensor: tf.Tensor) => new Matrix({ read: () => tensor });
  type Made = { matrix: Matrix; parts: LowRank[]; tensors: tf.Tensor[]; whole: (i: number, j: number) => number };

  /** W' = g · (W + B·A) twice over, number by number. */
  function made(axes: LowRank["axis"][], gains: boolean): Made {
    const w = random([OUT, IN]);
    const raw = axes.map((axis, i) => ({
      axis,
      a: random([R, IN], 10 * i + 2),
      b: random([OUT, R], 10 * i + 3),
      gain: gains ? (random([axis === "out" ? OUT : IN], 10 * i + 4) as tf.Tensor1D) : null,
    }));
    const parts = raw.map(({ a, b, ...rest }) => ({ a: constant(a), b: constant(b), ...rest }));
    const matrix = constant(w);
    matrix.adapt(parts);
    const W = w.dataSync();
    const values = raw.map(({ a, b, gain, axis }) => ({ A: a.dataSync(), B: b.dataSync(), G: gain?.dataSync(), axis }));
    const whole = (i: number, j: number): number =>
      values.reduce(
        (value, { A, B, G, axis }) => {
          let sum = value;
          for (let r = 0; r < R; r++) sum += B[i * R + r] * A[r * IN + j];
          return G ? sum * G[axis === "out" ? i : j] : sum;
        },
        W[i * IN + j],
      );
    const tensors = [w, ...raw.flatMap(({ a, b, gain }) => (gain ? [a, b, gain] : [a, b]))];
    return { matrix, parts, tensors, whole };
  }

  function free({ matrix, parts, tensors }: Made): void {
    for (const one of [matrix, ...parts.flatMap(({ a, b }) => [a as Matrix, b as Matrix])]) one.release();
    tf.dispose(tensors);
  }

  const near = (ours: ArrayLike<number>, expected: ArrayLike<number>) => {
    const { scaled } = compare(ours, expected);
    assert.ok(scaled < 1e-5, String(scaled));
  };

  for (const gains of [false, true]) {
    const what = gains ? " with gains" : "";
    leakFree(`multiplies by their sum${what}, adds the bias behind it and GELU last`, () => {
      const one = made(["out", "out"], gains);
      const [x, bias] = [random([2, N, IN], 5), random([OUT], 6)];
      const X = x.dataSync();
      const expected = Float64Array.from({ length: 2 * N * OUT }, (_, at) => {
        const [row, i] = [Math.floor(at / OUT), at % OUT];
        let sum = bias.dataSync()[i];
        for (let j = 0; j < IN; j++) sum += X[row * IN + j] * one.whole(i, j);
        return 0.5 * sum * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (sum + 0.044715 * sum ** 3)));
      });
      const y = one.matrix.multiply(x, { bias, gelu: true });
      assert.deepEqual(y.shape, [2, N, OUT]);
      near(y.dataSync(), expected);
      free(one);
      tf.dispose([x, bias, y]);
    });

    leakFree(`gives rows of their sum${what}, times a factor`, () => {
      const one = made(["out", "in"], gains);
      const ids = tf.tensor2d(
        [
          [0, 8999],
          [4096, 17],
        ],
        undefined,
        "int32",
      );
      const rows = one.matrix.rows(ids, 2.5);
      const expected = [0, 8999, 4096, 17].flatMap((i) => Array.from({ length: IN }, (_, j) => 2.5 * one.whole(i, j)));
      assert.deepEqual(rows.shape, [2, 2, IN]);
      near(rows.dataSync(), expected);
      free(one);
      tf.dispose([ids, rows]);
    });

    leakFree(`becomes one tensor${what} when it is merged`, async () => {
      const one = made(["out", "in"], gains);
      const merged = await mergedTensor(one.matrix, () => {});
      near(
        merged.dataSync(),
        Float64Array.from({ length: OUT * IN }, (_, at) => one.whole(Math.floor(at / IN), at % IN)),
      );
      free(one);
      merged.dispose();
    });
  }

  for (const axis of ["out", "in"] as const) {
    leakFree(`has norms of its ${axis === "out" ? "rows" : "columns"}, to divide DoRA's magnitudes by`, () => {
      const one = made([axis], false);
      const norms = lowRankNorms(one.tensors[0], one.parts[0]);
      const length = axis === "out" ? OUT : IN;
      const squares = new Float64Array(length);
      for (let i = 0; i < OUT; i++) {
        for (let j = 0; j < IN; j++) squares[axis === "out" ? i : j] += one.whole(i, j) ** 2;
      }
      near(norms.dataSync(), squares.map(Math.sqrt));
      free(one);
      norms.dispose();
    });
  }

  leakFree("is told apart from another, wherever in a long table they differ", async () => {
    const table = random([OUT, IN]);
    const values = table.dataSync<"float32">();
    const placed = [
      {
        role: "base",
        weight: "table",
        shape: [OUT, IN],
        entry: { name: "table", dtype: "F32" },
      } as unknown as PlacedTensor,
    ];
    const found = (changed: Float32Array) => {
      const bytes = new Uint8Array(changed.buffer, changed.byteOffset, changed.byteLength);
      const read = async (_: PlacedTensor, start: number, end: number) => bytes.slice(start, end);
      return otherBaseTable({ placed, read } as unknown as AdapterFile, { weight: "table", stored: table }, () => {});
    };
    assert.equal(await found(values), null);
    for (const at of [0, 4096 * IN, OUT * IN - 1]) {
      const changed = values.slice();
      changed[at] += 1;
      assert.equal(await found(changed), placed[0]);
    }
    table.dispose();
  });
});
