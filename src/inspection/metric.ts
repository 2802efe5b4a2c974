import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import { described } from "../base/options.js";
import { faultOfTensor } from "../base/tensors.js";
import { requireFiniteNumbers } from "./finite-numbers.js";
import { checkIndices } from "../hooks/indices.js";

/**
 * A number that says how a run answers, as a scalar tensor of its logits [B, T, V]; differentiable where it is built of
 * such operations.
 */
export type Metric = (logits: tf.Tensor) => tf.Scalar;

// The logits behind the last position of the first row.
const last = (logits: tf.Tensor): tf.Tensor1D => {
  const [, T, V] = logits.shape as [number, number, number];
  return logits.slice([0, T - 1, 0], [1, 1, V]).reshape([V]) as tf.Tensor1D;
};

// One of the numbers [V]: of a token outside of them a backend would give whatever lies there.
function at(values: tf.Tensor, token: number): tf.Tensor {
  checkIndices("token", [token], values.shape[0]!, "ids");
  return values.slice([token], [1]);
}

// The vocabulary is known when there are logits.
function requireToken(name: string, id: number): void {
  if (Number.isSafeInteger(id) && id >= 0) return;
  throw new InputError(`${name}: expected a token id (tokenizer.encode gives them), received ${described(id)}`);
}

/**
 * The logit of one token at the last position less that of another. Throws `InputError` for what is no token id, and
 * its metric for ids outside of the vocabulary.
 */
export function logitDifference(token: number, against: number): Metric {
  requireToken("token", token);
  requireToken("against", against);
  return (logits) =>
    tf.tidy(
      () =>
        at(last(logits), token)
          .sub(at(last(logits), against))
          .sum() as tf.Scalar,
    );
}

/**
 * The log-probability of one token at the last position, in nats. Throws `InputError` for what is no token id, and its
 * metric for an id outside of the vocabulary.
 */
export function logProbability(token: number): Metric {
  requireToken("token", token);
  return (logits) => tf.tidy(() => at(last(logits).logSoftmax(), token).sum() as tf.Scalar);
}

/**
 * What a metric says of logits. Throws `InputError` for a metric that is no function, or does not return a scalar
 * tensor.
 */
export function valueOf(metric: Metric, logits: tf.Tensor): tf.Scalar {
  if (typeof metric !== "function") {
    throw new InputError(`metric: expected a function of logits, received ${described(metric)}`);
  }
  const value: unknown = metric(logits);
  if (value instanceof Promise) value.catch(() => {}); // it may reject, which would end the process
  const fault = faultOfTensor(value) ?? faultOfSize(value as tf.Tensor);
  if (fault === null) return value as tf.Scalar;
  if (value instanceof tf.Tensor && value !== logits) value.dispose();
  throw new InputError(`metric: expected a float32 scalar tensor of the logits, ${fault}`);
}

const faultOfSize = ({ size, shape }: tf.Tensor): string | null =>
  size === 1 ? null : `received a tensor [${shape.join(", ")}]`;

/**
 * The value of a metric; the logits stay the caller's. Throws as `valueOf` does, `WeightsError` where it is not finite
 * because a logit is not, and `InputError` where finite logits give one that is not.
 */
export async function measure(metric: Metric, logits: tf.Tensor): Promise<number> {
  const tensor = valueOf(metric, logits);
  try {
    const value = (await tensor.data())[0]!;
    if (Number.isFinite(value)) return value;
    await requireFiniteNumbers("metric: expected finite logits", logits);
    throw new InputError(`metric: expected a finite number of these logits, received ${value}`);
  } finally {
    if (tensor !== logits) tensor.dispose();
  }
}
