import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "../checkpoint-layer.js";
import { Convolution } from "./convolution.js";

/**
 * x + conv1x1(relu(conv3x3(relu(conv3x3(x))))), with no ReLU behind the sum. [B, height, width, C] -> the same shape.
 * Checkpoint tensors: `net.{0,2}.{weight,bias}` [C, C, 3, 3] and [C], `net.4.{weight,bias}` [C, C, 1, 1] and [C].
 * Source: google-research/big_vision, evaluators/proj/paligemma/transfers/segmentation.py, `ResBlock`.
 */
export class ResidualConvolutions extends CheckpointLayer {
  static readonly className = "ResidualConvolutions";
  private readonly filters: number;
  private readonly convolutions: readonly Convolution[];

  constructor(args: CheckpointLayerArgs & { filters: number }) {
    const { filters, ...rest } = args;
    super(rest);
    this.filters = filters;
    const steps = [["net.0", 3], ["net.2", 3], ["net.4", 1]] as const; // prettier-ignore
    this.convolutions = steps.map(([path, kernelSize]) =>
      this.own(new Convolution({ ...this.part(path), filters, kernelSize })),
    );
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    for (const convolution of this.convolutions) this.buildChild(convolution, shapesOf(inputShape)[0]!);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    const x = listOf(inputs)[0]!;
    return tf.tidy(() => {
      const [first, second, last] = this.convolutions as [Convolution, Convolution, Convolution];
      const inner = tf.relu(first.apply(x) as tf.Tensor);
      const outer = tf.relu(second.apply(inner) as tf.Tensor);
      return x.add(last.apply(outer) as tf.Tensor);
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), filters: this.filters };
  }
}
tf.serialization.registerClass(ResidualConvolutions);
