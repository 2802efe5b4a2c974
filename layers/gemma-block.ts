import * as tf from "@tensorflow/tfjs";

import { add } from "./add.js";
import { ShapeError } from "./axes.js";
import { CheckpointLayer, type CheckpointLayerArgs, shapesOf } from "./checkpoint-layer.js";
import type { HeldDtype } from "./stored.js";
import { GatedMLP } from "./gated-mlp.js";
import { type DecoderOptions, GemmaAttention, type GemmaAttentionConfig } from "./gemma-attention.js";
import { lastRow } from "./last-row.js";
import { RMSNorm } from "./rms-norm.js";
import { noTap, tapAt } from "./tap.js";

/** Sizes and constants of one decoder block; `postNorms` also normalises the two halves' outputs (Gemma 2). */
export type GemmaBlockConfig = GemmaAttentionConfig & {
  intermediateSize: number;
  rmsNormEps: number;
  postNorms: boolean;
};

/**
 * `lastRowOnly`: the caller reads no other row of the output, so the block may return [B, 1, D]. It does so only where
 * nobody listens and the row has the same bits.
 */
export type GemmaBlockOptions = DecoderOptions & { lastRowOnly?: boolean };

/**
 * One decoder block, two additions: x + attn(norm(x)), then x + mlp(norm(x)); with post-norms each addend is normalised
 * first. Inputs and output as `GemmaAttention`. Taps: hook_resid_pre, ln1.*, attn.*, ln1_post.*, hook_attn_out,
 * hook_resid_mid, ln2.*, mlp.*, ln2_post.*, hook_mlp_out, hook_resid_post.
 */
export class GemmaBlock extends CheckpointLayer {
  static readonly className = "GemmaBlock";
  private readonly config: GemmaBlockConfig;
  private readonly attn: GemmaAttention;
  private readonly mlp: GatedMLP;
  private readonly ln1: RMSNorm;
  private readonly ln2: RMSNorm;
  private readonly ln1Post: RMSNorm | null;
  private readonly ln2Post: RMSNorm | null;

  constructor(args: CheckpointLayerArgs & { config: GemmaBlockConfig }) {
    const { config, ...rest } = args;
    super(rest);
    const { hiddenSize, intermediateSize, rmsNormEps, postNorms, coarseProducts } = config;
    const norm = (name: string) => this.own(new RMSNorm({ ...this.part(name), eps: rmsNormEps }));
    this.config = config;
    this.attn = this.own(new GemmaAttention({ ...this.part("self_attn"), config }));
    this.mlp = this.own(new GatedMLP({ ...this.part("mlp"), hiddenSize, intermediateSize, coarseProducts }));
    this.ln1 = norm("input_layernorm");
    // One checkpoint name, two meanings: before the MLP without post-norms, after the attention with them.
    this.ln2 = norm(postNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm");
    this.ln1Post = postNorms ? norm("post_attention_layernorm") : null;
    this.ln2Post = postNorms ? norm("post_feedforward_layernorm") : null;
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    const shapes = shapesOf(inputShape);
    this.buildChild(this.attn, ...shapes);
    for (const child of [this.mlp, this.ln1, this.ln2, this.ln1Post, this.ln2Post]) {
      if (child) this.buildChild(child, shapes[0]!);
    }
    this.built = true;
  }
  /** The type that its matrices are held in. */
  get heldAs(): HeldDtype {
    return this.mlp.heldAs;
  }
  override call(
    inputs: tf.Tensor | tf.Tensor[],
    { tap = noTap, cache, lastRowOnly = false }: GemmaBlockOptions = {},
  ): tf.Tensor {
    const [x, ...maskAndRope] = inputs as [tf.Tensor, ...tf.Tensor[]];
    const [B, T] = x.shape;
    const among = B! * T!;
    const asked = lastRowOnly && tap === noTap && this.mlp.canComputeSome(among) ? lastRow : (rows: tf.Tensor) => rows;
    const run = (layer: CheckpointLayer, path: string, input: tf.Tensor | tf.Tensor[]) =>
      layer.apply(input, { tap: tapAt(tap, path), cache, among }) as tf.Tensor;
    return tf.tidy(() => {
      const pre = tap("hook_resid_pre", x);
      const attn = run(this.attn, "attn", [run(this.ln1, "ln1", pre), ...maskAndRope]);
      const attnOut = tap("hook_attn_out", this.ln1Post ? run(this.ln1Post, "ln1_post", attn) : attn);
      const mid = asked(tap("hook_resid_mid", add(pre, attnOut)));
      const mlp = run(this.mlp, "mlp", run(this.ln2, "ln2", mid));
      const mlpOut = tap("hook_mlp_out", this.ln2Post ? run(this.ln2Post, "ln2_post", mlp) : mlp);
      return tap("hook_resid_post", add(mid, mlpOut));
    });
  }
  /**
   * The share of each head in hook_attn_out: `z` [B, T, N, H] -> [B, T, N, D]. With post-norms a share is divided by
   * the scale that the norm had, `postScale` [B, T, 1], so that the shares still sum to the whole. The caller owns the
   * result.
   */
  attnOutByHead(z: tf.Tensor, postScale: tf.Tensor | null): tf.Tensor {
    return tf.tidy(() => {
      const outputs = this.attn.outputsByHead(z);
      if (this.ln1Post === null) return outputs;
      if (postScale === null) throw new ShapeError(`${this.name}: expected the scale of ln1_post, received none`);
      return outputs.div(postScale.expandDims(2)).mul(this.ln1Post.gain());
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), config: { ...this.config } as tf.serialization.ConfigDict };
  }
}
tf.serialization.registerClass(GemmaBlock);
