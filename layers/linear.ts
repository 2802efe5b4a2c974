import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import type { Matrix, ProductOptions } from "./matrix.js";
import type { Weight } from "./weight.js";

/**
 * What a `Linear` is made of: `units` = out. `coarseProducts` (default no): the input may be rounded to bfloat16 where 16-bit
 * weights are multiplied faster so.
 */
export type LinearArgs = CheckpointLayerArgs & {
  units: number;
  useBias: boolean;
  coarseProducts?: boolean | undefined;
};

/** y = x·Wᵀ + b, with `gelu` the tanh form of GELU behind it. Input [..., in] -> [..., out]. Checkpoint tensors: `weight` [out, in], `bias` [out] where there is one. */
export class Linear extends CheckpointLayer {
  static readonly className = "Linear";
  private readonly units: number;
  private readonly useBias: boolean;
  private readonly coarseProducts: boolean;
  /** The weight, for a kernel that multiplies by several at once. */
  weight!: Matrix;
  private bias: Weight | null = null;

  constructor(args: LinearArgs) {
    const { units, useBias, coarseProducts = false, ...rest } = args;
    super(rest);
    this.units = units;
    this.useBias = useBias;
    this.coarseProducts = coarseProducts;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    this.weight = this.addMatrix("weight", [this.units, shapesOf(inputShape)[0].at(-1)!]);
    if (this.useBias) this.bias = this.addTensor("bias", [this.units]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { gelu }: Pick<ProductOptions, "gelu"> = {}): tf.Tensor {
    return this.weight.multiply(listOf(inputs)[0], { bias: this.bias?.read(), gelu, coarse: this.coarseProducts });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [...shapesOf(inputShape)[0].slice(0, -1), this.units];
  }
  override getConfig(): tf.serialization.ConfigDict {
    const { units, useBias, coarseProducts } = this;
    return { ...super.getConfig(), units, useBias, coarseProducts };
  }
}
tf.serialization.registerClass(Linear);
