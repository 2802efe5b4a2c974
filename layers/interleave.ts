import * as tf from "@tensorflow/tfjs";

import { hasKernel, runKernel } from "./kernel.js";

/**
 * Rows of two tables, `first` [..., D] and `second` [..., D], each taken in its order: the next of `first` wherever
 * `fromFirst` [B, T] is true -> [B, T, D]. Every row of both is taken once. The caller owns the result.
 */
export function interleave(first: tf.Tensor, second: tf.Tensor, fromFirst: readonly (readonly boolean[])[]): tf.Tensor {
  const D = first.shape.at(-1)!;
  return tf.tidy(() => {
    if (!hasKernel("PaligemmaPick")) return joined(first.reshape([-1, D]), second.reshape([-1, D]), fromFirst);
    return runKernel("PaligemmaPick", { first, second, index: rowIndex(fromFirst, first.size / D) })!;
  });
}

// Rows of both tables, counted through, in the order in which they are taken.
function rowIndex(fromFirst: readonly (readonly boolean[])[], firstRows: number): tf.Tensor {
  const next = { first: 0, second: firstRows };
  const index = fromFirst.map((row) => row.map((isFirst) => (isFirst ? next.first++ : next.second++)));
  return tf.tensor2d(index, undefined, "int32");
}

// In runs and not by a gather, whose gradient wasm has not got.
function joined(first: tf.Tensor, second: tf.Tensor, fromFirst: readonly (readonly boolean[])[]): tf.Tensor {
  const tables = { first, second };
  const next = { first: 0, second: 0 };
  const rows = fromFirst.map((row) => {
    const runs = runsOf(row).map(({ value, length }) => {
      const kind = value ? "first" : "second";
      next[kind] += length;
      return tables[kind].slice([next[kind] - length, 0], [length, -1]);
    });
    return tf.concat(runs).expandDims(0);
  });
  return tf.concat(rows);
}

// Stretches of equal values, in order.
function runsOf(values: readonly boolean[]): { value: boolean; length: number }[] {
  const runs: { value: boolean; length: number }[] = [];
  for (const value of values) {
    const run = runs.at(-1);
    if (run?.value === value) run.length++;
    else runs.push({ value, length: 1 });
  }
  return runs;
}
