import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import type { Matrix, ProductOptions } from "./matrix.js";
import type { Weight } from "./weight.js";

/**
 * What a `Linear` is made of: `units` = out; `inner`, how many of the input's last axes are in's (default 1).
 * `coarseProducts` (default no): the input may be rounded to bfloat16 where 16-bit weights are multiplied faster so.
 */
export type LinearArgs = CheckpointLayerArgs & {
  units: number;
  useBias: boolean;
  inner?: number | undefined;
  coarseProducts?: boolean | undefined;
};

/**
 * y = x·Wᵀ + b, with `gelu` the tanh form of GELU behind it. Input [..., in] or, with `inner`, in cut into several axes
 * -> [..., out]. Checkpoint tensors: `weight` [out, in], `bias` [out] where there is one.
 */
export class Linear extends CheckpointLayer {
  static readonly className = "Linear";
  private readonly units: number;
  private readonly useBias: boolean;
  private readonly inner: number;
  private readonly coarseProducts: boolean;
  /** Weight and bias, for a kernel that multiplies by several at once. */
  weight!: Matrix;
  bias: Weight | null = null;

  constructor(args: LinearArgs) {
    const { units, useBias, inner = 1, coarseProducts = false, ...rest } = args;
    super(rest);
    this.units = units;
    this.useBias = useBias;
    this.inner = inner;
    this.coarseProducts = coarseProducts;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const width = shapesOf(inputShape)[0]!
      .slice(-this.inner)
      .reduce((size: number, axis) => size * axis!, 1);
    this.weight = this.addMatrix("weight", [this.units, width]);
    if (this.useBias) this.bias = this.addTensor("bias", [this.units]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { gelu }: Pick<ProductOptions, "gelu"> = {}): tf.Tensor {
    const { bias, inner, coarseProducts: coarse } = this;
    return this.weight.multiply(listOf(inputs)[0]!, { bias: bias?.read(), gelu, coarse, inner });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0]!.slice(0, -this.inner), this.units];
  }
  override getConfig(): tf.serialization.ConfigDict {
    const { units, useBias, inner, coarseProducts } = this;
    return { ...super.getConfig(), units, useBias, inner, coarseProducts };
  }
}
tf.serialization.registerClass(Linear);
