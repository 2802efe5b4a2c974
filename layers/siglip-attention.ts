import * as tf from "@tensorflow/tfjs";

import { attend } from "./attend.js";
import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { projectHeads } from "./qkv-projection.js";
import { Linear } from "./linear.js";
import { noTap, type Tap } from "./tap.js";

/**
 * Width and heads of SigLIP's attention; the head size is hiddenSize / numAttentionHeads. `coarseProducts` as in
 * `Linear`.
 */
export type SiglipAttentionConfig = {
  hiddenSize: number;
  numAttentionHeads: number;
  coarseProducts?: boolean | undefined;
};

/**
 * Multi-head attention with biases, every patch open to every other, scores scaled by H^-0.5. Input [B, P, D] -> [B, P,
 * D]. Checkpoint tensors: `{q,k,v,out}_proj.{weight,bias}`. Taps: hook_q, hook_k, hook_v and `attend`'s.
 */
export class SiglipAttention extends CheckpointLayer {
  static readonly className = "SiglipAttention";
  private readonly config: SiglipAttentionConfig;
  private readonly qProj: Linear;
  private readonly kProj: Linear;
  private readonly vProj: Linear;
  private readonly outProj: Linear;

  constructor(args: CheckpointLayerArgs & { config: SiglipAttentionConfig }) {
    const { config, ...rest } = args;
    super(rest);
    this.config = config;
    const { hiddenSize: units, coarseProducts } = config;
    const linear = (name: string, inner = 1) =>
      this.own(new Linear({ ...this.part(name), units, useBias: true, inner, coarseProducts }));
    this.qProj = linear("q_proj");
    this.kProj = linear("k_proj");
    this.vProj = linear("v_proj");
    this.outProj = linear("out_proj", 2);
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const [B, P, D] = shapesOf(inputShape)[0] as [number, number, number];
    const N = this.config.numAttentionHeads;
    for (const projection of [this.qProj, this.kProj, this.vProj]) this.buildChild(projection, [B, P, D]);
    this.buildChild(this.outProj, [B, P, N, D / N]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const x = listOf(inputs)[0]!;
    const { numAttentionHeads, coarseProducts: coarse } = this.config;
    const headDim = x.shape.at(-1)! / numAttentionHeads;
    return tf.tidy(() => {
      const heads = projectHeads(x, [this.qProj, this.kProj, this.vProj], { headDim, coarse });
      const q = tap("hook_q", heads[0]);
      const k = tap("hook_k", heads[1]);
      const v = tap("hook_v", heads[2]);
      const z = attend(q, k, v, null, { scale: headDim ** -0.5, softcap: null }, tap);
      return this.outProj.apply(z) as tf.Tensor;
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), config: { ...this.config } as tf.serialization.ConfigDict };
  }
}
tf.serialization.registerClass(SiglipAttention);
