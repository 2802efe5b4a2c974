import * as tf from "@tensorflow/tfjs";

import type { Matrix } from "../../layers/matrix.js";
import { heldLike } from "./held-like.js";

/** Rows that are computed at once. */
const ROWS_AT_ONCE = 4096;

/**
 * A matrix with its low-rank parts folded into one tensor, which the caller owns: of the shape, type and form of the
 * stored one, so that products cost what they cost without adapters, and 16-bit weights are rounded to 16 bit (packed
 * ones become bfloat16). `activate` is called before each computation.
 */
export async function mergedTensor(matrix: Matrix, activate: () => void): Promise<tf.Tensor> {
  const stored = matrix.stored();
  const rows = stored.shape[0];
  const values = new Float32Array(stored.size);
  for (let at = 0; at < rows; at += ROWS_AT_ONCE) {
    activate();
    const piece = tf.tidy(() => tf.keep(matrix.rows(tf.range(at, Math.min(at + ROWS_AT_ONCE, rows), 1, "int32"))));
    try {
      values.set(await piece.data<"float32">(), (at * stored.size) / rows);
    } finally {
      piece.dispose();
    }
  }
  activate();
  return heldLike(stored, values);
}
