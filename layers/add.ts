import * as tf from "@tensorflow/tfjs";

import { runKernel } from "./kernel.js";

/** a + b, elementwise, of one shape. The caller owns the result. */
export const add = (a: tf.Tensor, b: tf.Tensor): tf.Tensor => runKernel("PaligemmaAdd", { a, b }) ?? tf.add(a, b);
