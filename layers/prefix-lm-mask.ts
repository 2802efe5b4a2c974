import * as tf from "@tensorflow/tfjs";

import { MASKED } from "./axes.js";
import { runKernel } from "./kernel.js";
import { CheckpointLayer, type CheckpointLayerArgs, shapesOf } from "./checkpoint-layer.js";

/**
 * The prefix-LM mask: image and prompt are one open block, what follows is causal, pads are closed as keys.
 *
 *     open(i, j) = real(j) and ( (j <= i and j > i - window) or (type_i = 0 and type_j = 0) )
 *
 * `attentionMask` [B, S] is 1 for real tokens, `tokenTypes` [B, S] is 0 in the block (and for pads) and 1 behind it;
 * the queries are the last `queries` positions. -> [B, 1, queries, S] of 0 (open) and MASKED (closed), owned by the
 * caller. `window` null: no window. Inside the block everything stays visible, however wide it is. Six tokens in the
 * block and four behind it, with a window of 4:
 *
 *     111111....        111111....
 *     111111....        111111....
 *     111111....        111111....
 *     111111....        111111....
 *     111111....        111111....
 *     111111....        111111....
 *     1111111...        ...1111...
 *     11111111..        ....1111..
 *     111111111.        .....1111.
 *     1111111111        ......1111
 *     window null       window 4
 *
 * Source: huggingface/transformers 5.18, models/paligemma/modeling_paligemma.py (create_causal_mask_mapping).
 */
export function prefixLmMask(
  attentionMask: tf.Tensor,
  tokenTypes: tf.Tensor,
  window: number | null,
  queries: number = attentionMask.shape[1]!,
): tf.Tensor {
  const floats = attentionMask.dtype === "float32" && tokenTypes.dtype === "float32";
  const attributes = { window: window ?? -1, queries, masked: MASKED };
  const mask = floats ? runKernel("PaligemmaMask", { real: attentionMask, types: tokenTypes }, attributes) : null;
  if (mask) return mask;
  return tf.tidy(() => {
    const S = attentionMask.shape[1]!;
    const key = tf.range(0, S, 1, "float32").reshape([1, 1, S]);
    const query = tf.range(S - queries, S, 1, "float32").reshape([1, queries, 1]);
    const behind = tf.lessEqual(key, query);
    const causal = window === null ? behind : behind.logicalAnd(tf.greater(key, query.sub(window)));
    const inBlock = tokenTypes.toFloat().equal(tf.scalar(0)); // [B, S]
    const queryInBlock = inBlock.slice([0, S - queries], [-1, queries]).expandDims(2);
    const block = queryInBlock.logicalAnd(inBlock.expandDims(1)); // [B, queries, S]
    const open = causal.logicalOr(block).logicalAnd(attentionMask.toFloat().greater(tf.scalar(0)).expandDims(1));
    return tf.scalar(1).sub(open.toFloat()).mul(MASKED).expandDims(1);
  });
}

/** The mask of one batch row as text, a line per query: `1` open, `.` closed. Reads the tensor back. */
export function maskAsText(mask: tf.Tensor, row = 0): string {
  const cells = (mask.arraySync() as number[][][][])[row]![0]!;
  return cells.map((line) => line.map((cell) => (cell > MASKED / 2 ? "1" : ".")).join("")).join("\n");
}

/** `prefixLmMask` as a layer. Inputs `attentionMask` and `tokenTypes` [B, S] -> [B, 1, S, S]. No weights. */
export class PrefixLMMask extends CheckpointLayer {
  static readonly className = "PrefixLMMask";
  private readonly slidingWindow: number | null;

  constructor(args: CheckpointLayerArgs & { slidingWindow: number | null }) {
    const { slidingWindow, ...rest } = args;
    super(rest);
    this.slidingWindow = slidingWindow;
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    const [attentionMask, tokenTypes] = inputs as [tf.Tensor, tf.Tensor];
    return prefixLmMask(attentionMask, tokenTypes, this.slidingWindow);
  }
  override computeOutputShape(inputShape: tf.Shape | tf.Shape[]): tf.Shape {
    const [B, S] = shapesOf(inputShape)[0] as [number, number];
    return [B, 1, S, S];
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), slidingWindow: this.slidingWindow };
  }
}
tf.serialization.registerClass(PrefixLMMask);
