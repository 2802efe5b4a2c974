import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { runKernel } from "./kernel.js";
import { listens, noTap, type Tap } from "./tap.js";
import type { Weight } from "./weight.js";

/**
 * x / sqrt(mean(x²) + eps) · (1 + weight): checkpoints centre `weight` on 0. `x` [..., D], `weight` [D] -> [..., D].
 */
export function rmsNorm(x: tf.Tensor, weight: tf.Tensor, eps: number, tap: Tap = noTap): tf.Tensor {
  const normed = listens(tap, "hook_scale") ? null : runKernel("PaligemmaRmsNorm", { x, weight }, { eps });
  if (normed) return tap("hook_out", normed);
  return tf.tidy(() => {
    // Dividing by what the tap returns keeps the divisor editable; it costs one unit in the last place against rsqrt.
    const divisor = runKernel("PaligemmaRmsScale", { x }, { eps }) ?? x.square().mean(-1, true).add(eps).sqrt();
    const scale = tap("hook_scale", divisor); // [..., 1]
    const out = runKernel("PaligemmaRmsScaled", { x, scale, weight }) ?? x.div(scale).mul(weight.add(1));
    return tap("hook_out", out);
  });
}

/** Gemma's norm in float32. Input [..., D] -> [..., D]. Checkpoint tensor: `weight` [D]. Taps: hook_scale, hook_out. */
export class RMSNorm extends CheckpointLayer {
  static readonly className = "RMSNorm";
  private readonly eps: number;
  private weight!: Weight;

  constructor(args: CheckpointLayerArgs & { eps: number }) {
    const { eps, ...rest } = args;
    super(rest);
    this.eps = eps;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    this.weight = this.addTensor("weight", [shapesOf(inputShape)[0]!.at(-1)!]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return rmsNorm(listOf(inputs)[0]!, this.weight.read(), this.eps, tap);
  }
  /** What the normed numbers are multiplied by, 1 + weight [D]; the caller owns it. */
  gain(): tf.Tensor {
    return this.weight.read().add(1);
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), eps: this.eps };
  }
}
tf.serialization.registerClass(RMSNorm);
