import * as tf from "@tensorflow/tfjs";

import type { CheckpointLayerArgs } from "../checkpoint-layer.js";
import { CheckpointSequence } from "../checkpoint-sequence.js";
import { Convolution } from "./convolution.js";
import { ResidualConvolutions } from "./residual-convolutions.js";

/**
 * Channels behind each of the four convolutions that halve the sides (published: 16, 32, 64, 128), and C, the width of
 * the codebook.
 */
export type MaskEncoderArgs = CheckpointLayerArgs & { widths: readonly number[]; codebookWidth: number };

/**
 * A mask to the vectors whose nearest rows of the codebook are its codes: four convolutions that halve the sides, then
 * two residual blocks. [B, 64, 64, 1] in [-1, 1] -> [B, 4, 4, C]. Checkpoint tensors: `{0,2,4,6,10}.{weight,bias}`,
 * `{8,9}.net.{0,2,4}.{weight,bias}`. Taps: these places. Source: google-research/big_vision,
 * pp/proj/paligemma/segmentation.py, `encode_to_codebook_indices`; kernel sizes: SwinTransformer/AiT,
 * vae/models/VQVAE.py.
 */
export class MaskEncoder extends CheckpointSequence {
  static readonly className = "MaskEncoder";
  private readonly widths: readonly number[];
  private readonly codebookWidth: number;

  constructor(args: MaskEncoderArgs) {
    const { widths, codebookWidth, ...rest } = args;
    super(rest);
    this.widths = widths;
    this.codebookWidth = codebookWidth;
    const places = 2 * widths.length;
    widths.forEach((filters, i) => {
      this.add(2 * i, (part) => new Convolution({ ...part, filters, kernelSize: 4, stride: 2 }), { relu: true });
    });
    for (const place of [places, places + 1]) {
      this.add(place, (part) => new ResidualConvolutions({ ...part, filters: widths.at(-1)! }), { relu: false });
    }
    const last = { filters: codebookWidth, kernelSize: 1 };
    this.add(places + 2, (part) => new Convolution({ ...part, ...last }), { relu: false });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), widths: [...this.widths], codebookWidth: this.codebookWidth };
  }
}
tf.serialization.registerClass(MaskEncoder);
