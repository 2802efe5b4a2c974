import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { geluTanh } from "./gelu.js";
import { runKernel } from "./kernel.js";
import { Linear } from "./linear.js";
import { listens, noTap, type Tap } from "./tap.js";

/**
 * SigLIP's MLP: fc2(gelu_tanh(fc1(x))), with biases. Input [..., D] -> [..., D]. `coarseProducts` as in `Linear`.
 * Checkpoint tensors: `fc1.{weight,bias}` [F, D], `fc2.{weight,bias}` [D, F]. Taps: hook_pre, hook_post.
 */
export class MLP extends CheckpointLayer {
  static readonly className = "MLP";
  private readonly hiddenSize: number;
  private readonly intermediateSize: number;
  private readonly coarseProducts: boolean;
  private readonly fc1: Linear;
  private readonly fc2: Linear;

  constructor(
    args: CheckpointLayerArgs & { hiddenSize: number; intermediateSize: number; coarseProducts?: boolean | undefined },
  ) {
    const { hiddenSize, intermediateSize, coarseProducts = false, ...rest } = args;
    super(rest);
    this.hiddenSize = hiddenSize;
    this.intermediateSize = intermediateSize;
    this.coarseProducts = coarseProducts;
    const linear = (name: string, units: number) =>
      this.own(new Linear({ ...this.part(name), units, useBias: true, coarseProducts }));
    this.fc1 = linear("fc1", intermediateSize);
    this.fc2 = linear("fc2", hiddenSize);
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shape = shapesOf(inputShape)[0]!;
    this.buildChild(this.fc1, shape);
    this.buildChild(this.fc2, [...shape.slice(0, -1), this.intermediateSize]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const x = listOf(inputs)[0]!;
    const fused = listens(tap, "hook_pre", "hook_post") ? null : this.atOnce(x);
    if (fused) return fused;
    return tf.tidy(() => {
      const fc1 = (gelu: boolean) => this.fc1.apply(x, { gelu }) as tf.Tensor;
      if (!listens(tap, "hook_pre")) return this.fc2.apply(tap("hook_post", fc1(true))) as tf.Tensor;
      const pre = tap("hook_pre", fc1(false));
      return this.fc2.apply(tap("hook_post", geluTanh(pre))) as tf.Tensor;
    });
  }
  /** Both products by one kernel; null where there is none, or a matrix is more than its operand. */
  private atOnce(x: tf.Tensor): tf.Tensor | null {
    const { fc1, fc2, coarseProducts } = this;
    if (fc1.weight.adapted || fc2.weight.adapted) return null;
    const [bias1, bias2] = [fc1.bias!.read(), fc2.bias!.read()];
    const operands = { x, fc1: fc1.weight.read(), bias1, fc2: fc2.weight.read(), bias2 };
    return runKernel("PaligemmaMlp", operands, { coarse: coarseProducts ? 1 : 0 });
  }
  override getConfig(): tf.serialization.ConfigDict {
    const { hiddenSize, intermediateSize, coarseProducts } = this;
    return { ...super.getConfig(), hiddenSize, intermediateSize, coarseProducts };
  }
}
tf.serialization.registerClass(MLP);
