import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import type { Matrix, ProductOptions } from "./matrix.js";

/** Sizes of a `Linear`: `units` = out. */
export type LinearArgs = CheckpointLayerArgs & { units: number; useBias: boolean };

/** y = x·Wᵀ + b, with `gelu` the tanh form of GELU behind it. Input [..., in] -> [..., out]. Checkpoint tensors: `weight` [out, in], `bias` [out] where there is one. */
export class Linear extends CheckpointLayer {
  static readonly className = "Linear";
  private readonly units: number;
  private readonly useBias: boolean;
  /** The weight, for a kernel that multiplies by several at once. */
  weight!: Matrix;
  private bias: tf.LayerVariable | null = null;

  constructor(args: LinearArgs) {
    const { units, useBias, ...rest } = args;
    super(rest);
    this.units = units;
    this.useBias = useBias;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    this.weight = this.addMatrix("weight", [this.units, shapesOf(inputShape)[0].at(-1)!]);
    if (this.useBias) this.bias = this.addTensor("bias", [this.units]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { gelu, coarse }: Omit<ProductOptions, "bias"> = {}): tf.Tensor {
    return this.weight.multiply(listOf(inputs)[0], { bias: this.bias?.read(), gelu, coarse });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0].slice(0, -1), this.units];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), units: this.units, useBias: this.useBias };
  }
}
tf.serialization.registerClass(Linear);
