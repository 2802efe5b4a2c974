import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import { type Metric, valueOf } from "./metric.js";

/**
 * d metric(forward(x_0, x_1, ...)) / d x_i for each x_i, of its shape; zeros where the logits do not depend on it. The
 * caller disposes them. Throws `InputError` for a metric whose value does not come from the logits by differentiable
 * operations, and leaves no tensor behind when anything throws.
 */
export function derivatives(
  metric: Metric,
  forward: (...xs: tf.Tensor[]) => tf.Tensor,
  xs: readonly tf.Tensor[],
): tf.Tensor[] {
  let reached = false;
  const probe = tf.customGrad((logits) => ({
    value: (logits as tf.Tensor).clone(),
    gradFunc: (dy) => {
      reached = true;
      return dy;
    },
  }));
  const value = (...moving: tf.Tensor[]): tf.Scalar => {
    // TensorFlow.js refuses to differentiate where no way leads from x to y; this one adds zero.
    const ways = moving.map((x) => x.mul(0).sum());
    return valueOf(metric, probe(forward(...moving))).add<tf.Scalar>(tf.addN(ways));
  };
  return tf.tidy(() => {
    const found = releasingTape(() => tf.grads(value)([...xs]));
    if (reached) return found;
    throw new InputError(
      "metric: expected a number made of the logits by differentiable operations, received one whose derivative does not lead to them",
    );
  });
}

// TensorFlow.js disposes what operations saved for their derivatives only after the last derivative.
function releasingTape<Result>(differentiate: () => Result): Result {
  const { state } = tf.engine();
  try {
    return differentiate();
  } catch (error) {
    if (state.gradientDepth === 0 && state.activeTape) {
      for (const { saved } of state.activeTape) tf.dispose(saved ?? []);
      state.activeTape = null as never;
    }
    throw error;
  }
}
