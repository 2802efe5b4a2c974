import * as tf from "@tensorflow/tfjs";

import { runKernel } from "./kernel.js";

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

/**
 * The tanh form of GELU, elementwise: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³))). Any shape; the caller owns the
 * result. Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415, section 2.
 */
export function geluTanh(x: tf.Tensor): tf.Tensor {
  const activated = runKernel("PaligemmaGelu", { x });
  if (activated) return activated;
  return tf.tidy(() => {
    const inner = x.add(x.square().mul(x).mul(0.044715)).mul(SQRT_2_OVER_PI);
    return x.mul(0.5).mul(inner.tanh().add(1));
  });
}
