import * as tf from "@tensorflow/tfjs";

import type { CheckpointLayer, WeightScope } from "../../layers/checkpoint-layer.js";
import { LayerNorm } from "../../layers/layer-norm.js";
import { PatchEmbedding } from "../../layers/patch-embedding.js";
import { SiglipBlock } from "../../layers/siglip-block.js";
import { noTap, type Tap, tapAt } from "../../layers/tap.js";
import type { VisionConfig } from "./config.js";
import type { Part } from "./section.js";
import type { Settings } from "./settings.js";
import { replace, type Steps } from "./turns.js";

/** Where the tower lies in a checkpoint. */
const ROOT = "vision_tower.vision_model";

/** SigLIP: patches with positions, encoder blocks, a final norm. No class token, no mask, no pooling head. */
export class SiglipTower {
  /** Every layer with the path of its tensors, in the order of computation. */
  readonly parts: readonly Part[];
  private readonly embeddings: PatchEmbedding;
  private readonly blocks: SiglipBlock[];
  private readonly lnFinal: LayerNorm;

  constructor(config: VisionConfig, settings: Settings, checkpoint?: WeightScope) {
    const part = (path: string) => ({ name: path, scope: checkpoint?.at(`${ROOT}.${path}`) });
    const { hiddenSize, patchSize, imageSize, numChannels, numHiddenLayers, layerNormEps } = config;
    const coarseProducts = settings.products === "fast";
    this.embeddings = new PatchEmbedding({ ...part("embeddings"), hiddenSize, patchSize });
    this.blocks = Array.from(
      { length: numHiddenLayers },
      (_, i) => new SiglipBlock({ ...part(`encoder.layers.${i}`), config: { ...config, coarseProducts } }),
    );
    this.lnFinal = new LayerNorm({ ...part("post_layernorm"), eps: layerNormEps });
    const tokens: tf.Shape = [null, (imageSize / patchSize) ** 2, hiddenSize];
    this.parts = [
      { path: `${ROOT}.embeddings`, layer: this.embeddings, inputShapes: [[null, imageSize, imageSize, numChannels]] },
      ...this.blocks.map((layer, i) => ({ path: `${ROOT}.encoder.layers.${i}`, layer, inputShapes: [tokens] })),
      { path: `${ROOT}.post_layernorm`, layer: this.lnFinal, inputShapes: [tokens] },
    ];
  }

  /** The tower's final norm alone: a residual stream [..., Dv] -> image features [..., Dv]. The caller owns them. */
  featuresOf(residual: tf.Tensor): tf.Tensor {
    return this.lnFinal.apply(residual) as tf.Tensor;
  }

  /** Pixels [B, S, S, 3] in [-1, 1] -> image features [B, P, Dv], a step for each block; the caller owns them. */
  *forward(pixels: tf.Tensor, tap: Tap = noTap): Steps<tf.Tensor> {
    const run = (layer: CheckpointLayer, x: tf.Tensor, at: Tap) => layer.apply(x, { tap: at }) as tf.Tensor;
    let x = tf.tidy(() => run(this.embeddings, pixels, tap).clone());
    try {
      for (const [i, block] of this.blocks.entries()) {
        x = replace(x, () => run(block, x, tapAt(tap, `blocks.${i}`)));
        yield;
      }
      return tf.tidy(() => run(this.lnFinal, x, tapAt(tap, "ln_final")).clone());
    } finally {
      x.dispose();
    }
  }
}
