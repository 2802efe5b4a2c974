import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs, listOf, shapesOf } from "../checkpoint-layer.js";
import { Codebook } from "./codebook.js";
import { MaskDecoder } from "./mask-decoder.js";
import { MaskEncoder } from "./mask-encoder.js";
import { noTap, type Tap, tapAt } from "../tap.js";

/** Cells along each side of a mask, each with a code of its own. */
const CELLS = 4;
/** Pixels along each side of a mask as it is coded. */
export const MASK_SIDE = 64;

/** Sizes of an autoencoder of masks. */
export type MaskVaeConfig = {
  /** Rows of the codebook. */
  codes: number;
  /** C, the width of a row; published: 512. */
  codebookWidth: number;
  /** As `MaskEncoder` has them. */
  encoderWidths: readonly number[];
  /** As `MaskDecoder` has them. */
  decoderWidths: readonly number[];
};

/**
 * The vector-quantised autoencoder of masks. Sixteen codes are the 4 x 4 cells of a mask, row by row. `apply` decodes:
 * codes [B, 16] (integers) -> [B, 64, 64, 1], about -1 outside and 1 inside; `encode` is the way back. Checkpoint
 * tensors: `_vq_vae._embedding` [codes, C], `decoder.*`, `encoder.*`. Taps: rows [B, 4, 4, C], decoder.*, encoder.*.
 * Source: "All in Tokens" (arXiv 2301.02229), as google-research/big_vision uses it.
 */
export class MaskVae extends CheckpointLayer {
  static readonly className = "MaskVae";
  private readonly config: MaskVaeConfig;
  private readonly codebook: Codebook;
  private readonly decoder: MaskDecoder;
  private readonly encoder: MaskEncoder;

  constructor(args: CheckpointLayerArgs & { config: MaskVaeConfig }) {
    const { config, ...rest } = args;
    super(rest);
    this.config = config;
    const { codes, codebookWidth, encoderWidths, decoderWidths } = config;
    this.codebook = this.own(new Codebook({ ...this.part("_vq_vae"), codes, width: codebookWidth }));
    this.decoder = this.own(new MaskDecoder({ ...this.part("decoder"), widths: decoderWidths }));
    this.encoder = this.own(new MaskEncoder({ ...this.part("encoder"), widths: encoderWidths, codebookWidth }));
  }
  override build(): void {
    this.buildChild(this.codebook, [null, CELLS * CELLS]);
    this.buildChild(this.decoder, [null, CELLS, CELLS, this.config.codebookWidth]);
    this.buildChild(this.encoder, [null, MASK_SIDE, MASK_SIDE, 1]);
    this.built = true;
  }
  override call(inputs: tf.Tensor | tf.Tensor[], { tap = noTap }: { tap?: Tap } = {}): tf.Tensor {
    return tf.tidy(() => {
      const rows = this.codebook.apply(listOf(inputs)[0]!) as tf.Tensor; // [B, 16, C]
      const cells = tap("rows", rows.reshape([-1, CELLS, CELLS, this.config.codebookWidth]));
      return this.decoder.apply(cells, { tap: tapAt(tap, "decoder") }) as tf.Tensor;
    });
  }
  /** Masks [B, 64, 64, 1] in [-1, 1] -> codes [B, 16], int32; the caller owns them. The layer must be built. */
  encode(masks: tf.Tensor, tap: Tap = noTap): tf.Tensor2D {
    return tf.tidy(() => {
      const found = this.encoder.apply(masks, { tap: tapAt(tap, "encoder") }) as tf.Tensor;
      const codes = this.codebook.nearest(found.reshape([-1, this.config.codebookWidth]));
      return codes.reshape([-1, CELLS * CELLS]);
    });
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    return [shapesOf(inputShape)[0]![0]!, MASK_SIDE, MASK_SIDE, 1];
  }
  override getConfig(): tf.serialization.ConfigDict {
    const { encoderWidths, decoderWidths, ...rest } = this.config;
    return {
      ...super.getConfig(),
      config: { ...rest, encoderWidths: [...encoderWidths], decoderWidths: [...decoderWidths] },
    };
  }
}
tf.serialization.registerClass(MaskVae);
