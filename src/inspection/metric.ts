import * as tf from "@tensorflow/tfjs";

/** A number that says how a run answers, as a scalar tensor of its logits [B, T, V]; differentiable where it is built of such operations. */
export type Metric = (logits: tf.Tensor) => tf.Scalar;

// The logits behind the last position of the first row.
const last = (logits: tf.Tensor): tf.Tensor1D => {
  const [, T, V] = logits.shape as [number, number, number];
  return logits.slice([0, T - 1, 0], [1, 1, V]).reshape([V]) as tf.Tensor1D;
};

/** The logit of one token at the last position less that of another. */
export const logitDifference =
  (token: number, against: number): Metric =>
  (logits) =>
    tf.tidy(
      () =>
        last(logits)
          .slice([token], [1])
          .sub(last(logits).slice([against], [1]))
          .sum() as tf.Scalar,
    );

/** The log-probability of one token at the last position, in nats. */
export const logProbability =
  (token: number): Metric =>
  (logits) =>
    tf.tidy(() => last(logits).logSoftmax().slice([token], [1]).sum() as tf.Scalar);

/** The value of a metric; the logits stay the caller's. */
export async function measure(metric: Metric, logits: tf.Tensor): Promise<number> {
  const value = metric(logits);
  try {
    return (await value.data())[0]!;
  } finally {
    value.dispose();
  }
}
