import * as tf from "@tensorflow/tfjs";

import { InputError } from "./errors.js";
import { described } from "./options.js";

/**
 * What is wrong with a value that has to be a tensor of this type with numbers in it, in words ("received ..."), or
 * null.
 */
export function faultOfTensor(value: unknown, dtype: tf.DataType = "float32"): string | null {
  if (value instanceof Promise) return "received a promise";
  if (!(value instanceof tf.Tensor)) return `received ${described(value)}`;
  if (value.isDisposed) return "received one that has been disposed";
  if (!isKnown(value)) return "received one of another copy of TensorFlow.js, whose numbers are not here";
  return value.dtype === dtype ? null : `received one of the type ${value.dtype}`;
}

/** Throws `InputError` unless the value is a tensor of that type, alive, and of this process's TensorFlow.js. */
export function requireTensor(
  where: string,
  value: unknown,
  dtype: tf.DataType = "float32",
): asserts value is tf.Tensor {
  const fault = faultOfTensor(value, dtype);
  if (fault !== null) throw new InputError(`${where}: expected a ${dtype} tensor, ${fault}`);
}

// Copies of the library in one process share their engine; one of another realm, such as a worker or a vm context, has
// its own.
const isKnown = ({ dataId }: tf.Tensor): boolean => tf.engine().state.tensorInfo.has(dataId);
