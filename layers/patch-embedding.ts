import * as tf from "@tensorflow/tfjs";

import { add } from "./add.js";
import { ShapeError } from "./axes.js";
import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import type { Matrix } from "./matrix.js";
import { noTap, type Tap } from "./tap.js";
import type { Weight } from "./weight.js";

/** `hiddenSize` channels out of patches of `patchSize` x `patchSize` pixels. */
export type PatchEmbeddingArgs = CheckpointLayerArgs & { hiddenSize: number; patchSize: number };

/**
 * Patches to tokens: a convolution of kernel and stride `patchSize` with bias, flattened row by row, plus learned
 * positions. Input [B, height, width, C], both sides whole multiples of the patch -> [B, P, D], P =
 * (height/patch)·(width/patch). Checkpoint tensors: `patch_embedding.{weight,bias}` [D, C, patch, patch],
 * `position_embedding.weight` [P, D]. Taps: hook_embed, hook_pos_embed [1, P, D], hook_full_embed. Throws `ShapeError`
 * for a size that does not divide.
 */
export class PatchEmbedding extends CheckpointLayer {
  static readonly className = "PatchEmbedding";
  private readonly hiddenSize: number;
  private readonly patchSize: number;
  private kernel!: Matrix;
  private bias!: Weight;
  private positions!: Weight;

  constructor(args: PatchEmbeddingArgs) {
    const { hiddenSize, patchSize, ...rest } = args;
    super(rest);
    this.hiddenSize = hiddenSize;
    this.patchSize = patchSize;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const [, height, width, channels] = shapesOf(inputShape)[0] as [number, number, number, number];
    const [rows, columns] = this.grid(height, width);
    this.kernel = this.addMatrix("patch_embedding.weight", [this.hiddenSize, channels, this.patchSize, this.patchSize]);
    this.bias = this.addTensor("patch_embedding.bias", [this.hiddenSize]);
    this.positions = this.addTensor("position_embedding.weight", [rows * columns, this.hiddenSize]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const pixels = listOf(inputs)[0]!;
    const [B, height, width, C] = pixels.shape as [number, number, number, number];
    const [rows, columns] = this.grid(height, width);
    const p = this.patchSize;
    return tf.tidy(() => {
      // The kernel is stored [D, C, y, x], so a patch is laid out channel by channel: then the convolution is a
      // product.
      const cut = pixels.reshape([B * rows, p, columns, p * C]).transpose([0, 2, 1, 3]); // [B·rows, columns, y, x·C]
      const patches = cut.reshape([B * rows * columns, p * p, C]).transpose([0, 2, 1]);
      const flat = patches.reshape([B, rows * columns, C * p * p]);
      const embed = tap("hook_embed", this.kernel.multiply(flat, { bias: this.bias.read() }));
      const positions = tap("hook_pos_embed", this.positions.read().expandDims(0));
      return tap("hook_full_embed", add(embed, positions));
    });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [B, height, width] = shapesOf(inputShape)[0] as [number, number, number];
    const [rows, columns] = this.grid(height, width);
    return [B, rows * columns, this.hiddenSize];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), hiddenSize: this.hiddenSize, patchSize: this.patchSize };
  }
  private grid(height: number, width: number): [rows: number, columns: number] {
    const [rows, columns] = [height / this.patchSize, width / this.patchSize];
    if (!Number.isInteger(rows) || !Number.isInteger(columns)) {
      throw new ShapeError(
        `${this.name}: expected an image whose sides are multiples of ${this.patchSize}, received ${height} x ${width}`,
      );
    }
    return [rows, columns];
  }
}
tf.serialization.registerClass(PatchEmbedding);
