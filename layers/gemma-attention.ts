import * as tf from "@tensorflow/tfjs";

import { attend } from "./attend.js";
import { CheckpointLayer, type CheckpointLayerArgs, shapesOf } from "./checkpoint-layer.js";
import type { KVCache } from "./kv-cache.js";
import { projectHeads } from "./qkv-projection.js";
import { Linear } from "./linear.js";
import { applyRope } from "./rope.js";
import { noTap, type Tap } from "./tap.js";

/** Sizes and constants of grouped-query attention. N / K must be whole; N·H may differ from the hidden size. */
export type GemmaAttentionConfig = {
  hiddenSize: number;
  numAttentionHeads: number;
  numKeyValueHeads: number;
  headDim: number;
  /** Scores are scaled by this to the power -1/2. */
  queryPreAttnScalar: number;
  /** Cap of the scores, or null for none. */
  attnLogitSoftcapping: number | null;
  /** As in `Linear`. */
  coarseProducts?: boolean | undefined;
};

/** What a decoder layer accepts besides its tensors: a listener, and the cache that new keys and values go to. */
export type DecoderOptions = { tap?: Tap; cache?: KVCache | undefined };

/**
 * Grouped-query attention with rotary positions (K = N: multi-head, K = 1: multi-query).
 * Inputs `x` [B, T, D], `mask` [B, 1, T, S], `cos` and `sin` [B, T, H] -> [B, T, D]. S = T without a cache.
 * Checkpoint tensors: `{q,k,v,o}_proj.weight`. Taps: hook_q, hook_k, hook_v, hook_rot_q, hook_rot_k and `attend`'s.
 */
export class GemmaAttention extends CheckpointLayer {
  static readonly className = "GemmaAttention";
  private readonly config: GemmaAttentionConfig;
  private readonly qProj: Linear;
  private readonly kProj: Linear;
  private readonly vProj: Linear;
  private readonly oProj: Linear;

  constructor(args: CheckpointLayerArgs & { config: GemmaAttentionConfig }) {
    const { config, ...rest } = args;
    super(rest);
    this.config = config;
    const { hiddenSize: D, numAttentionHeads: N, numKeyValueHeads: K, headDim: H, coarseProducts } = config;
    const linear = (name: string, units: number, inner = 1) =>
      this.own(new Linear({ ...this.part(name), units, useBias: false, inner, coarseProducts }));
    this.qProj = linear("q_proj", N * H);
    this.kProj = linear("k_proj", K * H);
    this.vProj = linear("v_proj", K * H);
    this.oProj = linear("o_proj", D, 2);
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const [B, T] = shapesOf(inputShape)[0] as [number, number];
    const { hiddenSize: D, numAttentionHeads: N, headDim: H } = this.config;
    for (const projection of [this.qProj, this.kProj, this.vProj]) this.buildChild(projection, [B, T, D]);
    this.buildChild(this.oProj, [B, T, N, H]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap, cache }: DecoderOptions = {}): tf.Tensor {
    const [x, mask, cos, sin] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
    const { headDim, queryPreAttnScalar, coarseProducts: coarse } = this.config;
    return tf.tidy(() => {
      const heads = projectHeads(x, [this.qProj, this.kProj, this.vProj], { headDim, coarse });
      const q = tap("hook_q", heads[0]);
      const k = tap("hook_k", heads[1]);
      const v = tap("hook_v", heads[2]);
      const rotatedQ = tap("hook_rot_q", applyRope(q, cos, sin));
      const rotatedK = tap("hook_rot_k", applyRope(k, cos, sin));
      const [keys, values] = cache ? cache.append(rotatedK, v) : [rotatedK, v]; // [B, S, K, H] each
      const scaling = { scale: queryPreAttnScalar ** -0.5, softcap: this.config.attnLogitSoftcapping };
      const z = attend(rotatedQ, keys, values, mask, scaling, tap); // [B, T, N, H]
      return this.oProj.apply(z) as tf.Tensor;
    });
  }
  /**
   * What each head adds to the output, `z` [B, T, N, H] -> [B, T, N, D]; their sum over N is the layer's output. The
   * caller owns it.
   */
  outputsByHead(z: tf.Tensor): tf.Tensor {
    return tf.tidy(() => {
      const [B, T, N, H] = z.shape as [number, number, number, number];
      const only = tf.eye(N).reshape([N, 1, 1, N, 1]); // head n of the n-th copy
      const rows = z
        .expandDims(0)
        .mul(only)
        .reshape([N * B, T, N, H]);
      const outputs = this.oProj.apply(rows) as tf.Tensor;
      return outputs.reshape([N, B, T, -1]).transpose([1, 2, 0, 3]);
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), config: { ...this.config } as tf.serialization.ConfigDict };
  }
}
tf.serialization.registerClass(GemmaAttention);
