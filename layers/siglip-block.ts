import * as tf from "@tensorflow/tfjs";

import { add } from "./add.js";
import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "./checkpoint-layer.js";
import { LayerNorm } from "./layer-norm.js";
import { MLP } from "./mlp.js";
import { SiglipAttention, type SiglipAttentionConfig } from "./siglip-attention.js";
import { noTap, type Tap, tapAt } from "./tap.js";

/** Sizes and constants of one encoder block. */
export type SiglipBlockConfig = SiglipAttentionConfig & { intermediateSize: number; layerNormEps: number };

/**
 * One encoder block, two additions: x + attn(norm(x)), then x + mlp(norm(x)). Input [B, P, D] -> [B, P, D].
 * Taps: hook_resid_pre, ln1.*, attn.*, hook_attn_out, hook_resid_mid, ln2.*, mlp.*, hook_mlp_out, hook_resid_post.
 */
export class SiglipBlock extends CheckpointLayer {
  static readonly className = "SiglipBlock";
  private readonly config: SiglipBlockConfig;
  private readonly ln1: LayerNorm;
  private readonly attn: SiglipAttention;
  private readonly ln2: LayerNorm;
  private readonly mlp: MLP;

  constructor(args: CheckpointLayerArgs & { config: SiglipBlockConfig }) {
    const { config, ...rest } = args;
    super(rest);
    const { hiddenSize, intermediateSize, layerNormEps: eps, coarseProducts } = config;
    this.config = config;
    this.ln1 = this.own(new LayerNorm({ ...this.part("layer_norm1"), eps }));
    this.attn = this.own(new SiglipAttention({ ...this.part("self_attn"), config }));
    this.ln2 = this.own(new LayerNorm({ ...this.part("layer_norm2"), eps }));
    this.mlp = this.own(new MLP({ ...this.part("mlp"), hiddenSize, intermediateSize, coarseProducts }));
  }
  override build(inputShape: tf.Shape | tf.Shape[]): void {
    for (const child of [this.ln1, this.attn, this.ln2, this.mlp]) this.buildChild(child, shapesOf(inputShape)[0]!);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    const run = (layer: CheckpointLayer, path: string, input: tf.Tensor) =>
      layer.apply(input, { tap: tapAt(tap, path) }) as tf.Tensor;
    return tf.tidy(() => {
      const pre = tap("hook_resid_pre", listOf(inputs)[0]!);
      const attnOut = tap("hook_attn_out", run(this.attn, "attn", run(this.ln1, "ln1", pre)));
      const mid = tap("hook_resid_mid", add(pre, attnOut));
      const mlpOut = tap("hook_mlp_out", run(this.mlp, "mlp", run(this.ln2, "ln2", mid)));
      return tap("hook_resid_post", add(mid, mlpOut));
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), config: { ...this.config } as tf.serialization.ConfigDict };
  }
}
tf.serialization.registerClass(SiglipBlock);
