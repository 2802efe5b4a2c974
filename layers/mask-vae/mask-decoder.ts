import * as tf from "@tensorflow/tfjs";

import type { CheckpointLayerArgs } from "../checkpoint-layer.js";
import { CheckpointSequence } from "../checkpoint-sequence.js";
import { Convolution, TransposedConvolution } from "./convolution.js";
import { ResidualConvolutions } from "./residual-convolutions.js";

/**
 * Channels behind the first convolution, then behind each of the four that double the sides; published: 128, 128, 64,
 * 32, 16.
 */
export type MaskDecoderArgs = CheckpointLayerArgs & { widths: readonly number[] };

/**
 * Rows of the codebook to a mask: two residual blocks, then four transposed convolutions that double the sides. [B, 4,
 * 4, C] -> [B, 64, 64, 1], about -1 outside and 1 inside. Checkpoint tensors: `{0,4,6,8,10,12}.{weight,bias}`,
 * `{2,3}.net.{0,2,4}.{weight,bias}`. Taps: these places. Source: google-research/big_vision,
 * evaluators/proj/paligemma/transfers/segmentation.py, `Decoder`.
 */
export class MaskDecoder extends CheckpointSequence {
  static readonly className = "MaskDecoder";
  private readonly widths: readonly number[];

  constructor(args: MaskDecoderArgs) {
    const { widths, ...rest } = args;
    super(rest);
    this.widths = widths;
    const [filters, ...wider] = widths as [number, ...number[]];
    this.add(0, (part) => new Convolution({ ...part, filters, kernelSize: 1 }), { relu: true });
    for (const place of [2, 3]) {
      this.add(place, (part) => new ResidualConvolutions({ ...part, filters }), { relu: false });
    }
    wider.forEach((filters, i) => {
      const doubling = { filters, kernelSize: 4, stride: 2 };
      this.add(4 + 2 * i, (part) => new TransposedConvolution({ ...part, ...doubling }), { relu: true });
    });
    this.add(4 + 2 * wider.length, (part) => new Convolution({ ...part, filters: 1, kernelSize: 1 }), { relu: false });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), widths: [...this.widths] };
  }
}
tf.serialization.registerClass(MaskDecoder);
