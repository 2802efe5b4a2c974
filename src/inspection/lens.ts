import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import type { Intervention } from "../hooks/edit-tap.js";
import { notFinite } from "../decoding/finite-logits.js";
import { anything, checkOptions, number, oneOf, type OptionKinds } from "../base/options.js";
import { checkIndices } from "../hooks/indices.js";
import type { Positions } from "../hooks/positions.js";

/** Where a lens looks. */
export type LensRequest = {
  /** The stream of the decoder (default), or of the vision tower, pushed through the projector. */
  tower?: "language" | "vision" | undefined;
  /** Blocks, counted from 0. Default: all. */
  layers?: readonly number[] | undefined;
  /** Positions of the decoder (default "last"), or patches of the vision tower (default all). */
  positions?: Positions | undefined;
  /** How many tokens are named. Default 5. */
  topK?: number | undefined;
  edits?: readonly Intervention[] | undefined;
};

const LENS_KINDS: OptionKinds<LensRequest> = {
  tower: oneOf("language", "vision"),
  layers: anything,
  positions: anything,
  topK: number,
  edits: anything,
};

/** One token that a lens names. */
export type LensToken = { id: number; text: string; probability: number };

/** What the stream behind one block says at one position, read as if it were the last. */
export type LensCell = {
  layer: number;
  row: number;
  position: number;
  /** The likeliest tokens, best first. */
  top: LensToken[];
  /** -Σ p log p, in nats. */
  entropy: number;
  /** Place of the token that the whole model puts first at this position: 1 where this block says the same. */
  finalRank: number;
  /** What this block gives that token. */
  finalProbability: number;
  /** KL(final ‖ this), in nats. */
  klToFinal: number;
  /**
   * Whether the stream was never made to be read so: blocks of the vision tower are not aligned with the vocabulary.
   */
  extrapolated: boolean;
};

/** Bytes of logits that are formed at a time. */
const CHUNK = 2 ** 26;

/**
 * The logit lens: unembed(ln_final(hook_resid_post)) of each block, with the model's own final norm and cap, as tokens
 * and as statistics of the way to the answer. For the vision tower unembed(ln_final(project(vision.ln_final(x)))), an
 * extrapolation, and compared with the decoder's answer at the same image row. Only what is named leaves the backend,
 * never whole logits. Throws `WeightsError` where a probability is not a number.
 */
export async function logitLens(
  model: PaliGemma,
  question: Question | ModelInputs,
  request: LensRequest = {},
): Promise<LensCell[]> {
  const { tower = "language", topK = 5, edits } = checkOptions("logitLens", request, LENS_KINDS);
  const V = model.config.text.vocabSize;
  if (!Number.isSafeInteger(topK) || topK < 1 || topK > V) {
    throw new InputError(`topK: expected a whole number in [1, ${V}], received ${topK}`);
  }
  const layers = checkedLayers(request.layers, model.config[tower === "language" ? "text" : "vision"].numHiddenLayers);
  const last = `language.blocks.${model.config.text.numHiddenLayers - 1}.hook_resid_post`;
  const own = layers.map((layer) => `${tower}.blocks.${layer}.hook_resid_post`);
  const positions = request.positions ?? (tower === "language" ? "last" : "image");
  const hooks = [...new Set([...own, last])];
  // Patches of a vision hook and image rows of the decoder go by the same numbers only where one picture comes first.
  const { cache } = await model.runWithCache(question, { hooks, positions, edits, stopAt: last });
  try {
    const final = cache.get(last);
    const cells: LensCell[] = [];
    for (const [i, layer] of layers.entries()) {
      const stream = cache.get(own[i]!);
      const where = cache.describe(tower === "language" ? own[i]! : last).positions!;
      if (stream.shape[1] !== final.shape[1]) {
        throw new InputError(
          "lens: the vision tower's patches and the decoder's image rows must be one picture at the front",
        );
      }
      const rows = where.flatMap((row, b) => row.map((position) => ({ layer, row: b, position })));
      const read = tower === "language" ? stream : model.network.projected(stream);
      const stats = await readRows(model, read, final, topK);
      if (read !== stream) read.dispose();
      rows.forEach((at, j) => cells.push({ ...at, ...stats[j]!, extrapolated: tower === "vision" }));
    }
    return cells;
  } finally {
    cache.dispose();
  }
}

function checkedLayers(layers: readonly number[] | undefined, count: number): number[] {
  return layers ? [...checkIndices("layers", layers, count, "blocks")] : Array.from({ length: count }, (_, i) => i);
}

type RowStatistics = Omit<LensCell, "layer" | "row" | "position" | "extrapolated">;

// Some rows at a time: one row of logits of a full-size vocabulary is a megabyte.
async function readRows(model: PaliGemma, stream: tf.Tensor, final: tf.Tensor, topK: number): Promise<RowStatistics[]> {
  const [D, V] = [model.config.text.hiddenSize, model.config.text.vocabSize];
  const count = stream.size / D;
  const step = Math.max(1, Math.floor(CHUNK / (4 * V)));
  const cells: RowStatistics[] = [];
  for (let from = 0; from < count; from += step) {
    const size = Math.min(step, count - from);
    const part = (x: tf.Tensor) => x.reshape([count, D]).slice([from, 0], [size, D]);
    model.network.ready(); // while numbers were read, other code may have chosen another backend or disposed the model
    const read = tf.tidy(() => statistics(model, part(stream), part(final), topK));
    const [probability, ids, entropy, rank, finalProbability, kl] = await Promise.all(read.map((one) => one.data()));
    tf.dispose(read);
    const lost = entropy!.findIndex((value) => !Number.isFinite(value));
    if (lost >= 0) throw notFinite(`lens: expected probabilities in row ${from + lost}`, entropy![lost]!);
    for (let i = 0; i < size; i++) {
      const top = Array.from({ length: topK }, (_, k) => {
        const id = ids![i * topK + k]!;
        return { id, text: model.tokenizer.decode([id]), probability: probability![i * topK + k]! };
      });
      const [finalRank, entropyHere] = [rank![i]! + 1, entropy![i]!];
      cells.push({ top, entropy: entropyHere, finalRank, finalProbability: finalProbability![i]!, klToFinal: kl![i]! });
    }
  }
  return cells;
}

function statistics(model: PaliGemma, stream: tf.Tensor, final: tf.Tensor, topK: number): tf.Tensor[] {
  const logProbabilities = (x: tf.Tensor) => tf.logSoftmax(model.network.language.logitsOf(x)) as tf.Tensor2D;
  const [here, there] = [logProbabilities(stream), logProbabilities(final)];
  const p = here.exp();
  const { values, indices } = tf.topk(p, topK);
  const best = tf.oneHot(there.argMax(-1).toInt(), there.shape[1]).toFloat();
  const own = here.mul(best).sum(-1, true); // log probability of the final token, here
  return [
    values,
    indices,
    p.mul(here).sum(-1).neg(),
    here.greater(own).toFloat().sum(-1),
    own.exp().squeeze([-1]),
    there.exp().mul(there.sub(here)).sum(-1),
  ];
}
