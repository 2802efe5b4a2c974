import * as tf from "@tensorflow/tfjs";

import { notFinite } from "../decoding/finite-logits.js";

/**
 * Throws `WeightsError` that begins with `what` where one of the numbers of a float32 tensor is not finite; the tensor
 * stays the caller's.
 */
export async function requireFiniteNumbers(what: string, x: tf.Tensor): Promise<void> {
  const check = tf.tidy(() => x.mul(0).sum()); // 0 unless one is NaN or an infinity
  const sum = (await check.data())[0]!;
  check.dispose();
  if (sum === 0) return;
  throw notFinite(what, (await x.data()).find((value) => !Number.isFinite(value)) ?? sum);
}
