import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "../checkpoint-layer.js";
import type { Weight } from "../weight.js";

/** `codes` rows of `width` numbers. */
export type CodebookArgs = CheckpointLayerArgs & { codes: number; width: number };

/**
 * A table of vectors that stand for all. Input codes [...] (integers below `codes`) -> their rows [..., C]. Checkpoint
 * tensor: `_embedding` [codes, C].
 */
export class Codebook extends CheckpointLayer {
  static readonly className = "Codebook";
  private readonly codes: number;
  private readonly width: number;
  private embedding!: Weight;

  constructor(args: CodebookArgs) {
    const { codes, width, ...rest } = args;
    super(rest);
    this.codes = codes;
    this.width = width;
  }
  override build(): void {
    this.embedding = this.addTensor("_embedding", [this.codes, this.width]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => tf.gather(this.embedding.read(), listOf(inputs)[0]!.toInt()));
  }
  /**
   * The code whose row is nearest to each vector by L2, the lower one of equals. [n, C] -> [n], int32; the caller owns
   * the result. Differences are formed as they stand, not as |x|² + |e|² - 2xe, so that equal rows are equally far on
   * every backend.
   */
  nearest(vectors: tf.Tensor): tf.Tensor1D {
    return tf.tidy(() => {
      const apart = vectors.expandDims(1).sub(this.embedding.read()); // [n, codes, C]
      return apart.square().sum(-1).argMin(-1) as tf.Tensor1D;
    });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0]!, this.width];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), codes: this.codes, width: this.width };
  }
}
tf.serialization.registerClass(Codebook);
