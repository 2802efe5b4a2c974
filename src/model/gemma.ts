import * as tf from "@tensorflow/tfjs";

import type { CheckpointLayer, WeightScope } from "../../layers/checkpoint-layer.js";
import { TokenEmbedding } from "../../layers/embedding.js";
import { GemmaBlock } from "../../layers/gemma-block.js";
import type { HeldDtype } from "../../layers/stored.js";
import { lastRow } from "../../layers/last-row.js";
import { prefixLmMask } from "../../layers/prefix-lm-mask.js";
import { RMSNorm } from "../../layers/rms-norm.js";
import { ropeTables } from "../../layers/rope.js";
import { noTap, type Tap, tapAt } from "../../layers/tap.js";
import { type OutputHead, TiedUnembedding, Unembedding } from "../../layers/unembedding.js";
import type { TextConfig } from "./config.js";
import type { DecoderState } from "./decoder-state.js";
import type { Part } from "./section.js";
import type { Settings } from "./settings.js";
import { replace, type Steps } from "./turns.js";

/** Where the decoder lies in a checkpoint, and an output head of its own. */
const ROOT = "language_model.model";
const HEAD = "language_model.lm_head";

/** What the decoder needs to know of each position: all keys so far, and where the new queries stand. */
export type Layout = {
  /** 1 for real tokens, 0 for pads, of all S key positions. [B, S] */
  attentionMask: readonly (readonly number[])[];
  /** 0 in the open block and for pads, 1 behind it. [B, S] */
  tokenTypes: readonly (readonly number[])[];
  /** Rotary positions of the T new tokens. [B, T] */
  positions: readonly (readonly number[])[];
};

/** Which rows meet the output projection: every position, or only the last of each row. */
export type LogitRows = "all" | "last";

/** Gemma or Gemma 2, whichever the config's values describe. */
export class GemmaDecoder {
  /** Every layer with the path of its tensors, in the order of computation. */
  readonly parts: readonly Part[];
  readonly embedding: TokenEmbedding;
  private readonly blocks: GemmaBlock[];
  private readonly lnFinal: RMSNorm;
  readonly unembed: OutputHead;

  constructor(
    private readonly config: TextConfig,
    private readonly settings: Settings,
    checkpoint?: WeightScope,
  ) {
    const part = (path: string) => ({ name: path, scope: checkpoint?.at(`${ROOT}.${path}`) });
    const { vocabSize, hiddenSize, headDim, numHiddenLayers, rmsNormEps } = config;
    this.embedding = new TokenEmbedding({ ...part("embed_tokens"), vocabSize, hiddenSize });
    this.blocks = Array.from(
      { length: numHiddenLayers },
      (_, i) =>
        new GemmaBlock({
          ...part(`layers.${i}`),
          config: { ...blockConfig(config), coarseProducts: settings.products === "fast" },
        }),
    );
    this.lnFinal = new RMSNorm({ ...part("norm"), eps: rmsNormEps });
    const finalLogitSoftcapping = settings.finalLogitSoftcapping === "config" ? config.finalLogitSoftcapping : null;
    this.unembed = config.tieWordEmbeddings
      ? new TiedUnembedding({ name: "unembed", embedding: this.embedding, finalLogitSoftcapping })
      : new Unembedding({ name: "unembed", scope: checkpoint?.at(HEAD), vocabSize, hiddenSize, finalLogitSoftcapping });
    const x: tf.Shape = [null, null, hiddenSize];
    const blockInputs: tf.Shape[] = [x, [null, 1, null, null], [null, null, headDim], [null, null, headDim]];
    this.parts = [
      { path: `${ROOT}.embed_tokens`, layer: this.embedding, inputShapes: [[null, null]] },
      ...this.blocks.map((layer, i) => ({ path: `${ROOT}.layers.${i}`, layer, inputShapes: blockInputs })),
      { path: `${ROOT}.norm`, layer: this.lnFinal, inputShapes: [x] },
      ...(config.tieWordEmbeddings ? [] : [{ path: HEAD, layer: this.unembed, inputShapes: [x] }]),
    ];
  }

  /**
   * Merged embeddings [B, T, D] -> logits [B, T, V] or, for the last row alone, [B, 1, V], a step for each block. The
   * embeddings are taken over; the caller owns the logits.
   */
  *forward(
    embeddings: tf.Tensor,
    layout: Layout,
    options: { tap?: Tap; state?: DecoderState | undefined; rows?: LogitRows } = {},
  ): Steps<tf.Tensor> {
    const { tap = noTap, state, rows = "all" } = options;
    const run = (layer: CheckpointLayer, x: tf.Tensor, path: string) =>
      layer.apply(x, { tap: tapAt(tap, path) }) as tf.Tensor;
    const tables = tf.tidy(() => ({
      ...ropeTables(layout.positions, this.config.headDim, this.config.ropeTheta),
      ...this.masks(layout),
    }));
    let x = embeddings;
    try {
      for (const [i, block] of this.blocks.entries()) {
        const mask = tables[this.config.layerTypes[i]!];
        const lastRowOnly = rows === "last" && i === this.blocks.length - 1;
        const options = { tap: tapAt(tap, `blocks.${i}`), cache: state?.layers[i], lastRowOnly };
        x = replace(x, () => block.apply([x, mask, tables.cos, tables.sin], options) as tf.Tensor);
        yield;
      }
      return tf.tidy(() => {
        const asked = rows === "last" && x.shape[1]! > 1 ? lastRow(x) : x;
        return run(this.unembed, run(this.lnFinal, asked, "ln_final"), "unembed");
      });
    } finally {
      x.dispose();
      tf.dispose(tables);
    }
  }

  /** The logits that a residual stream [..., D] would give: unembed(ln_final(x)) -> [..., V]. The caller owns them. */
  logitsOf(residual: tf.Tensor): tf.Tensor {
    return tf.tidy(() => this.unembed.apply(this.lnFinal.apply(residual) as tf.Tensor) as tf.Tensor);
  }

  /**
   * Directions of tokens in the residual stream once it is divided by its final scale: (1 + w) · W[id], ids [n] -> [n,
   * D]. The caller owns them.
   */
  directions(ids: readonly number[]): tf.Tensor {
    return tf.tidy(() => this.unembed.table(ids).mul(this.lnFinal.gain()));
  }

  /** The type that the matrices of its blocks are held in. */
  get heldAs(): HeldDtype {
    return this.blocks[0]!.heldAs;
  }

  /** `GemmaBlock.attnOutByHead` of one block. */
  attnOutByHead(layer: number, z: tf.Tensor, postScale: tf.Tensor | null): tf.Tensor {
    return this.blocks[layer]!.attnOutByHead(z, postScale);
  }

  private masks(layout: Layout): { full_attention: tf.Tensor; sliding_attention: tf.Tensor } {
    const attentionMask = tf.tensor2d(layout.attentionMask as number[][]);
    const tokenTypes = tf.tensor2d(layout.tokenTypes as number[][]);
    const queries = layout.positions[0]!.length;
    const window = this.settings.slidingWindow === "off" ? null : this.config.slidingWindow;
    const full = prefixLmMask(attentionMask, tokenTypes, null, queries);
    // A window as wide as everything closes nothing: one mask then serves both kinds of layer.
    const wide = window === null || window >= layout.attentionMask[0]!.length;
    const sliding = wide ? full : prefixLmMask(attentionMask, tokenTypes, window, queries);
    return { full_attention: full, sliding_attention: sliding };
  }
}

function blockConfig(config: TextConfig) {
  const { hiddenSize, intermediateSize, numAttentionHeads, numKeyValueHeads, headDim } = config;
  const { rmsNormEps, queryPreAttnScalar, attnLogitSoftcapping, postNorms } = config;
  const sizes = { hiddenSize, intermediateSize, numAttentionHeads, numKeyValueHeads, headDim };
  return { ...sizes, rmsNormEps, queryPreAttnScalar, attnLogitSoftcapping, postNorms };
}
