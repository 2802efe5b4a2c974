import * as tf from "@tensorflow/tfjs";

/** cap · tanh(x / cap), elementwise; `x` itself where there is no cap (`null`). */
export function softcap(x: tf.Tensor, cap: number | null): tf.Tensor {
  return cap === null ? x : tf.tidy(() => x.div(cap).tanh().mul(cap));
}
