import type * as tf from "@tensorflow/tfjs";

import { runKernel } from "./kernel.js";

/** The last position of each row: x [B, T, D] -> [B, 1, D]. The caller owns the result. */
export const lastRow = (x: tf.Tensor): tf.Tensor =>
  runKernel("PaligemmaLastRow", { x }) ?? x.slice([0, x.shape[1]! - 1, 0], [-1, 1, -1]);
