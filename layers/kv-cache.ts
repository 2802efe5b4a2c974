import * as tf from "@tensorflow/tfjs";

import { ShapeError } from "./axes.js";
import { CheckpointLayer, type CheckpointLayerArgs, shapesOf } from "./checkpoint-layer.js";
import { hasKernel, runKernel } from "./kernel.js";

/** Positions that room is made for beyond those needed, where nobody says how many will come. */
const SPARE = 128;

/** Keys and values of one decoder layer, [B, C, K, H] each. */
type Held = { keys: tf.Tensor; values: tf.Tensor };

/**
 * The keys and values of one decoder layer, of all positions so far, after RoPE. Inputs: the new keys and values [B, T,
 * K, H] -> all keys and all values [B, S, K, H], S = positions so far. What it holds outlives the caller's tidy until
 * `reset()` or `dispose()`; what it returns is the caller's.
 *
 * A backend with a kernel for it writes new positions in place, into tensors that have room for `capacity`; on any
 * other they grow by concatenation.
 */
export class KVCache extends CheckpointLayer {
  static readonly className = "KVCache";
  private readonly capacity: number;
  private held: Held | null = null;
  private count = 0;

  /** `capacity`: positions to make room for at first; 0 (default) where that is not known. More may come. */
  constructor(args: CheckpointLayerArgs & { capacity?: number } = {}) {
    const { capacity = 0, ...rest } = args;
    super(rest);
    this.capacity = capacity;
  }

  /** Positions held. */
  get length(): number {
    return this.count;
  }

  /**
   * Takes new keys and values [B, T, K, H] and returns all so far as [B, C, K, H], C >= `length`: behind `length` there
   * may be room whose numbers mean nothing. Throws `ShapeError` if B, K or H change.
   */
  append(keys: tf.Tensor, values: tf.Tensor): [keys: tf.Tensor, values: tf.Tensor] {
    this.checkFits("keys", this.held?.keys, keys);
    this.checkFits("values", this.held?.values, values);
    if (!this.write(keys, values)) this.join(keys, values);
    this.count += keys.shape[1]!;
    return [this.held!.keys.clone(), this.held!.values.clone()]; // a clone shares the numbers
  }

  /** Keeps these rows of the batch, in this order; a row may come more than once. */
  selectRows(rows: readonly number[]): void {
    if (!this.held) return;
    const selected = (x: tf.Tensor) => tf.keep(tf.tidy(() => tf.gather(x, tf.tensor1d(rows as number[], "int32"))));
    this.hold({ keys: selected(this.held.keys), values: selected(this.held.values) });
  }

  /** Forgets every position and frees its tensors. */
  reset(): void {
    this.hold(null);
    this.count = 0;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor[] {
    const [keys, values] = inputs as [tf.Tensor, tf.Tensor];
    return tf.tidy(() => this.append(keys, values).map((all) => upTo(all, this.count)));
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape[] {
    return shapesOf(inputShape).map(([B, , K, H]) => [B!, null, K!, H!]);
  }
  override dispose(): ReturnType<tf.layers.Layer["dispose"]> {
    this.reset();
    return super.dispose();
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), capacity: this.capacity };
  }

  /** In place; false where the backend cannot. */
  private write(k: tf.Tensor, v: tf.Tensor): boolean {
    if (!hasKernel("PaligemmaWriteCache")) return false;
    const needed = this.count + k.shape[1]!;
    if (this.held === null || this.held.keys.shape[1]! < needed) this.makeRoom(k.shape, needed);
    const { keys, values } = this.held!;
    tf.tidy(() => {
      const position = tf.tensor1d([this.count], "int32");
      runKernel("PaligemmaWriteCache", { keys, values, k, v, position });
    });
    return true;
  }

  private makeRoom([B, , K, H]: number[], needed: number): void {
    // Doubling, so that a long answer is copied a few times and not at every token.
    const capacity = Math.max(this.capacity, needed + Math.max(SPARE, this.count));
    const shape = [B, capacity - this.count, K, H];
    const room = () => runKernel("PaligemmaRoom", { shape: tf.tensor1d(shape as number[], "int32") })!;
    const widened = (x: tf.Tensor | undefined) =>
      tf.keep(tf.tidy(() => (x ? tf.concat([upTo(x, this.count), room()], 1) : room())));
    this.hold({ keys: widened(this.held?.keys), values: widened(this.held?.values) });
  }

  private join(k: tf.Tensor, v: tf.Tensor): void {
    const joined = (old: tf.Tensor | undefined, added: tf.Tensor) =>
      tf.keep(tf.tidy(() => (old && this.count > 0 ? tf.concat([upTo(old, this.count), added], 1) : added.clone())));
    this.hold({ keys: joined(this.held?.keys, k), values: joined(this.held?.values, v) });
  }

  private hold(next: Held | null): void {
    this.held?.keys.dispose();
    this.held?.values.dispose();
    this.held = next;
  }

  private checkFits(what: string, old: tf.Tensor | undefined, added: tf.Tensor): void {
    if (!old || [0, 2, 3].every((axis) => old.shape[axis] === added.shape[axis])) return;
    const [B, , K, H] = old.shape;
    throw new ShapeError(
      `KVCache ${what}: holds [${[B, this.count, K, H]}], cannot append [${added.shape}]; call reset()`,
    );
  }
}
tf.serialization.registerClass(KVCache);

const upTo = (x: tf.Tensor, length: number): tf.Tensor =>
  x.shape[1] === length ? x : x.slice([0, 0, 0, 0], [-1, length, -1, -1]);
