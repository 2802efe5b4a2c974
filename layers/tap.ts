import type * as tf from "@tensorflow/tfjs";

/** Shows an intermediate to whoever listens; returns it, or what they put in its place. */
export type Tap = (name: string, value: tf.Tensor) => tf.Tensor;

/** Nobody listens: the value passes through untouched. */
export const noTap: Tap = (_name, value) => value;

/** The tap of a part: prefixes `path` to every name that the part shows. Without a listener it stays `noTap`. */
export function tapAt(tap: Tap, path: string): Tap {
  return tap === noTap ? noTap : (name, value) => tap(`${path}.${name}`, value);
}
