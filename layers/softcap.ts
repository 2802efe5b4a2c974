import * as tf from "@tensorflow/tfjs";

import { runKernel } from "./kernel.js";

/** cap · tanh(x / cap), elementwise; `x` itself where there is no cap (`null`). */
export function softcap(x: tf.Tensor, cap: number | null): tf.Tensor {
  if (cap === null) return x;
  const capped = runKernel("PaligemmaSoftcap", { x }, { softcap: cap });
  return capped ?? tf.tidy(() => x.div(cap).tanh().mul(cap));
}
