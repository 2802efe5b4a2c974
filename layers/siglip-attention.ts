import * as tf from "@tensorflow/tfjs";

import { attend } from "./attend.js";
import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { Linear } from "./linear.js";
import { noTap, type Tap } from "./tap.js";

/** Width and heads of SigLIP's attention; the head size is hiddenSize / numAttentionHeads. `coarseProducts` as in `Linear`. */
export type SiglipAttentionConfig = {
  hiddenSize: number;
  numAttentionHeads: number;
  coarseProducts?: boolean | undefined;
};

/**
 * Multi-head attention with biases, every patch open to every other, scores scaled by H^-0.5.
 * Input [B, P, D] -> [B, P, D]. Checkpoint tensors: `{q,k,v,out}_proj.{weight,bias}`. Taps: hook_q, hook_k, hook_v and `attend`'s.
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
    const linear = (name: string) => this.own(new Linear({ ...this.part(name), units, useBias: true, coarseProducts }));
    this.qProj = linear("q_proj");
    this.kProj = linear("k_proj");
    this.vProj = linear("v_proj");
    this.outProj = linear("out_proj");
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    for (const child of [this.qProj, this.kProj, this.vProj, this.outProj]) {
      this.buildChild(child, shapesOf(inputShape)[0]);
    }
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const x = listOf(inputs)[0];
    const [B, P, D] = x.shape;
    const N = this.config.numAttentionHeads;
    const H = D / N;
    return tf.tidy(() => {
      const heads = (projection: Linear) => (projection.apply(x) as tf.Tensor).reshape([B, P, N, H]);
      const q = tap("hook_q", heads(this.qProj));
      const k = tap("hook_k", heads(this.kProj));
      const v = tap("hook_v", heads(this.vProj));
      const z = attend(q, k, v, null, { scale: H ** -0.5, softcap: null }, tap);
      return this.outProj.apply(z.reshape([B, P, D])) as tf.Tensor;
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), config: { ...this.config } };
  }
}
tf.serialization.registerClass(SiglipAttention);
