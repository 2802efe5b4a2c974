import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { Linear } from "./linear.js";
import { noTap, type Tap } from "./tap.js";

/**
 * Image features to rows of the decoder's input, unscaled: x·Wᵀ + b, no activation. Input [B, P, Dv] -> [B, P, D].
 * Checkpoint tensors: `linear.{weight,bias}` [D, Dv]. Tap: hook_out.
 */
export class Projector extends CheckpointLayer {
  static readonly className = "Projector";
  private readonly projectionDim: number;
  private readonly linear: Linear;

  constructor(args: CheckpointLayerArgs & { projectionDim: number }) {
    const { projectionDim, ...rest } = args;
    super(rest);
    this.projectionDim = projectionDim;
    this.linear = this.own(new Linear({ ...this.part("linear"), units: projectionDim, useBias: true }));
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    this.buildChild(this.linear, shapesOf(inputShape)[0]!);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return tf.tidy(() => tap("hook_out", this.linear.apply(listOf(inputs)[0]!) as tf.Tensor));
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0]!.slice(0, -1), this.projectionDim];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), projectionDim: this.projectionDim };
  }
}
tf.serialization.registerClass(Projector);
