import * as tf from "@tensorflow/tfjs";

import { runKernel } from "./kernel.js";

/** a + b, elementwise. The caller owns the result. */
export const add = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
  (tf.util.arraysEqual(a.shape, b.shape) ? runKernel("PaligemmaAdd", { a, b }) : null) ?? tf.add(a, b);
