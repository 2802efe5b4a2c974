import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { runKernel } from "./kernel.js";
import { listens, noTap, type Tap } from "./tap.js";
import type { Weight } from "./weight.js";

/** (x - mean(x)) / sqrt(var(x) + eps) · weight + bias, var over D without correction. `x` [..., D] -> [..., D]. */
export function layerNorm(x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, eps: number, tap: Tap = noTap): tf.Tensor {
  const normed = listens(tap, "hook_scale") ? null : runKernel("PaligemmaLayerNorm", { x, weight, bias }, { eps });
  if (normed) return tap("hook_out", normed);
  return tf.tidy(() => {
    const centred = () => x.sub(x.mean(-1, true));
    const divisor =
      runKernel("PaligemmaLayerScale", { x }, { eps }) ?? centred().square().mean(-1, true).add(eps).sqrt();
    const scale = tap("hook_scale", divisor); // [..., 1]
    const scaled = runKernel("PaligemmaLayerScaled", { x, scale, weight, bias });
    return tap("hook_out", scaled ?? centred().div(scale).mul(weight).add(bias));
  });
}

/**
 * SigLIP's norm in float32. Input [..., D] -> [..., D]. Checkpoint tensors: `weight`, `bias` [D]. Taps as `RMSNorm`.
 */
export class LayerNorm extends CheckpointLayer {
  static readonly className = "SiglipLayerNorm";
  private readonly eps: number;
  private weight!: Weight;
  private bias!: Weight;

  constructor(args: CheckpointLayerArgs & { eps: number }) {
    const { eps, ...rest } = args;
    super(rest);
    this.eps = eps;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const width = shapesOf(inputShape)[0]!.at(-1)!;
    this.weight = this.addTensor("weight", [width]);
    this.bias = this.addTensor("bias", [width]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return layerNorm(listOf(inputs)[0]!, this.weight.read(), this.bias.read(), this.eps, tap);
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), eps: this.eps };
  }
}
tf.serialization.registerClass(LayerNorm);
