import type * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import { ignoreRejection } from "../base/options.js";
import { faultOfTensor } from "../base/tensors.js";

/**
 * What a tap or a callback has returned for an activation, where it can take the activation's place: a tensor of its
 * shape and type that is alive. Throws `InputError` that names the hook for anything else, and where the activation
 * itself was disposed.
 */
export function checkedReplacement(who: string, name: string, value: tf.Tensor, result: unknown): tf.Tensor {
  ignoreRejection(result);
  if (value.isDisposed) {
    throw new InputError(
      `${who}: the activation ${name} was disposed, which the run goes on with; dispose a clone of it`,
    );
  }
  const expected = `expected a tensor [${value.shape.join(", ")}] back for ${name}`;
  const fault = faultOfTensor(result, value.dtype) ?? faultOfShape(result as tf.Tensor, value.shape);
  if (fault === null) return result as tf.Tensor;
  throw new InputError(`${who}: ${expected}, ${fault}${result instanceof Promise ? "; return the tensor itself" : ""}`);
}

const faultOfShape = ({ shape }: tf.Tensor, expected: readonly number[]): string | null =>
  shape.length === expected.length && shape.every((size, axis) => size === expected[axis])
    ? null
    : `received [${shape.join(", ")}]`;
