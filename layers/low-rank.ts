import * as tf from "@tensorflow/tfjs";

import { add } from "./add.js";
import { dense, heldDtype } from "./stored.js";
import { runKernel } from "./kernel.js";

/** Rows of a matrix that are widened to float32 at once. */
const ROWS_AT_ONCE = 4096;

/**
 * Which axis of W [out, in] a gain scales: that of the outputs (a linear layer), or of the inputs (a table of
 * embeddings).
 */
export type GainAxis = "out" | "in";

/** A factor of a low-rank part: a `Matrix`. */
type Factor = { read(): tf.Tensor; multiply(x: tf.Tensor): tf.Tensor };

/**
 * What one adapter makes of a matrix: W' = gain · (W + B·A), `a` [r, in], `b` [out, r] with its scale in it already.
 * `gain` is DoRA's magnitude / norm, along `axis`; null without DoRA. Several follow each other, each on what those
 * before it have made.
 */
export type LowRank = { a: Factor; b: Factor; gain: tf.Tensor1D | null; axis: GainAxis };

/**
 * gain · (y + (x·Aᵀ)·Bᵀ), `x` [..., in], `y` [..., out] -> [..., out]. The caller owns the result. Source: peft,
 * tuners/lora/dora.py.
 */
export function addLowRank(y: tf.Tensor, x: tf.Tensor, { a, b, gain }: LowRank): tf.Tensor {
  return tf.tidy(() => {
    const sum = add(y, b.multiply(a.multiply(x)));
    return gain ? sum.mul(gain) : sum;
  });
}

/**
 * The same for rows of W itself: `rows` [..., in] of the indices `ids` [...] -> [..., in]. The caller owns the result.
 */
export function rowsWithLowRank(rows: tf.Tensor, ids: tf.Tensor, { a, b, gain, axis }: LowRank): tf.Tensor {
  return tf.tidy(() => {
    const left = tf.gather(b.read(), ids); // [..., r]
    const [r, width] = a.read().shape as [number, number];
    const change = tf.matMul(left.reshape([-1, r]) as tf.Tensor2D, a.read() as tf.Tensor2D);
    const sum = rows.add(change.reshape([...ids.shape, width]));
    if (!gain) return sum;
    return sum.mul(axis === "in" ? gain : tf.gather(gain, ids).expandDims(-1));
  });
}

/**
 * Rows of a stored matrix times `factor`: integers `ids` [...] -> [..., in]; axes behind the first are taken as one.
 * The caller owns the result.
 */
export function rowsOf(weight: tf.Tensor, ids: tf.Tensor, factor = 1): tf.Tensor {
  return tf.tidy(() => {
    const w = heldDtype(weight) === null && weight.rank > 2 ? weight.reshape([weight.shape[0], -1]) : weight;
    const looked = runKernel("PaligemmaEmbed", { ids, w }, { scale: factor });
    return looked ?? tf.gather(dense(w), ids).mul(factor);
  });
}

/**
 * Calls `visit` with the indices of all rows, some thousands at a time: a matrix need not be in memory in float32 as a
 * whole.
 */
export function eachRows(count: number, visit: (ids: tf.Tensor1D) => void): void {
  for (let at = 0; at < count; at += ROWS_AT_ONCE) {
    tf.tidy(() => visit(tf.range(at, Math.min(at + ROWS_AT_ONCE, count), 1, "int32")));
  }
}

/**
 * The length of each row (`axis` "out") or column ("in") of W + B·A, `weight` [out, in] as it is held: what DoRA
 * divides its magnitudes by. The caller owns the result.
 */
export function lowRankNorms(weight: tf.Tensor, { a, b, axis }: Omit<LowRank, "gain">): tf.Tensor1D {
  return tf.tidy(() => {
    const squares: tf.Tensor1D[] = [];
    eachRows(weight.shape[0], (ids) => {
      const rows = rowsWithLowRank(rowsOf(weight, ids), ids, { a, b, gain: null, axis }).square();
      squares.push(tf.keep(rows.sum(axis === "out" ? 1 : 0)));
    });
    const total = axis === "out" ? tf.concat(squares) : tf.addN(squares);
    tf.dispose(squares);
    return total.sqrt();
  });
}
