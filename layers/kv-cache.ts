import * as tf from "@tensorflow/tfjs";

import { ShapeError } from "./axes.js";
import { CheckpointLayer, shapesOf } from "./checkpoint-layer.js";

/**
 * The keys and values of one decoder layer, of all positions so far, after RoPE.
 * Inputs: the new keys and values [B, T, K, H] -> all keys and all values [B, S, K, H], S = positions so far.
 * What it holds outlives the caller's tidy until `reset()` or `dispose()`; what it returns is the caller's.
 */
export class KVCache extends CheckpointLayer {
  static readonly className = "KVCache";
  private keys: tf.Tensor | null = null;
  private values: tf.Tensor | null = null;

  /** Positions held. */
  get length(): number {
    return this.keys?.shape[1] ?? 0;
  }

  /** Takes new keys and values [B, T, K, H] and returns all so far. Throws `ShapeError` if B, K or H change. */
  append(keys: tf.Tensor, values: tf.Tensor): [keys: tf.Tensor, values: tf.Tensor] {
    this.keys = joined("keys", this.keys, keys);
    this.values = joined("values", this.values, values);
    return [this.keys.clone(), this.values.clone()]; // a clone shares the numbers
  }

  /** Forgets every position and frees its tensors. */
  reset(): void {
    this.keys?.dispose();
    this.values?.dispose();
    this.keys = null;
    this.values = null;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor[] {
    const [keys, values] = inputs as tf.Tensor[];
    return this.append(keys, values);
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    return shapesOf(inputShape).map(([B, , K, H]) => [B, null, K, H]);
  }
  override dispose(): ReturnType<tf.layers.Layer["dispose"]> {
    this.reset();
    return super.dispose();
  }
}
tf.serialization.registerClass(KVCache);

function joined(what: string, old: tf.Tensor | null, added: tf.Tensor): tf.Tensor {
  if (old === null) return tf.keep(added.clone());
  const fits = [0, 2, 3].every((axis) => old.shape[axis] === added.shape[axis]);
  if (!fits)
    throw new ShapeError(`KVCache ${what}: holds [${old.shape}], cannot append [${added.shape}]; call reset()`);
  const all = tf.keep(tf.concat([old, added], 1));
  old.dispose();
  return all;
}
