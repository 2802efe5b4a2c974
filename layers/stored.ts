import type * as tf from "@tensorflow/tfjs";

import { runUntaped } from "./kernel.js";

/** A type of number that weights are held in. */
export type HeldDtype = "bfloat16" | "float16" | "float32" | "int8" | "nf4" | "fp4";

const held = new WeakMap<object, HeldDtype>();

/**
 * Marks a tensor as a weight that its backend holds in stored form: labelled float32 and shaped as stored, it is an
 * operand of this project's kernels only. Returns the tensor.
 */
export function markHeld<T extends tf.Tensor>(tensor: T, dtype: HeldDtype): T {
  held.set(tensor.dataId, dtype);
  return tensor;
}

/** The type that a weight is held in, or null for an ordinary tensor. */
export const heldDtype = (tensor: tf.Tensor): HeldDtype | null => held.get(tensor.dataId) ?? null;

/**
 * The numbers of a weight as an ordinary float32 tensor of its shape, a copy where it is held; the caller owns what is
 * not `weight`.
 */
export function dense(weight: tf.Tensor): tf.Tensor {
  if (heldDtype(weight) === null) return weight;
  const widened = runUntaped("PaligemmaWiden", { w: weight });
  if (widened === null) throw new Error("dense: this weight is held by another backend than the current one");
  return widened.reshape(weight.shape);
}
