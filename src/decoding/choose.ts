import * as tf from "@tensorflow/tfjs";

import { requireFiniteLogits } from "./finite-logits.js";
import { type LikelyToken, likeliest, logSumExp } from "./log-probabilities.js";
import type { Row } from "./rows.js";
import type { TokenRule } from "./token-rule.js";

/** The token that a row goes on with. Log-probabilities are the model's own: before temperature, cuts and rules. */
export type Chosen = {
  token: number;
  /** Where it was asked for. */
  logProbability: number | null;
  /** The likeliest tokens, likeliest first; empty unless asked for. */
  likeliest: LikelyToken[];
};

/** How tokens are chosen, and what is to be known of them; who draws, has a sampler of its own in its row. */
export type Chooser = {
  rule: TokenRule | null;
  logProbabilities: boolean;
  /** How many likeliest tokens are reported. */
  top: number;
};

/**
 * The next token of each row of logits [B, V], which stay the caller's. Only where all V numbers of a row are needed do
 * they leave the backend; a greedy choice reads 2 · B numbers. Throws `WeightsError` where the largest logit of a row
 * that goes on is not finite.
 */
export async function choose(logits: tf.Tensor2D, rows: readonly Row[], chooser: Chooser): Promise<Chosen[]> {
  const { rule, top } = chooser;
  if (rule || top > 0 || rows.some(({ sampler }) => sampler)) return chooseOnHost(logits, rows, chooser);
  const best = () => tf.stack([logits.argMax(-1).toFloat(), logits.sum(-1)]);
  const read = await readAndFree(tf.tidy(best));
  const [tokens, sums] = [read.slice(0, rows.length), read.slice(rows.length)];
  if (!sums.every(Number.isFinite)) return chooseOnHost(logits, rows, chooser); // finds out which of the logits is not
  const values = chooser.logProbabilities ? await readAndFree(logProbabilitiesOf(logits, tokens)) : null;
  return tokens.map((token, row) => ({ token, logProbability: values?.[row] ?? null, likeliest: [] }));
}

async function chooseOnHost(
  logits: tf.Tensor2D,
  rows: readonly Row[],
  { rule, logProbabilities, top }: Chooser,
): Promise<Chosen[]> {
  const V = logits.shape[1];
  const values = (await logits.data()) as Float32Array;
  return rows.map((row, i) => {
    const own = values.subarray(i * V, (i + 1) * V);
    if (row.finished === null) requireFiniteLogits(own, { prompt: row.place, token: row.generated.length });
    const scores = rule ? own.slice() : own; // a backend may have handed out its own memory
    rule?.(scores, row);
    const token = row.sampler ? row.sampler(scores) : indexOfLargest(scores);
    const logProbability = logProbabilities ? own[token]! - logSumExp(own) : null;
    return { token, logProbability, likeliest: top > 0 ? likeliest(own, top) : [] };
  });
}

function indexOfLargest(scores: Float32Array): number {
  let best = 0;
  for (let id = 1; id < scores.length; id++) if (scores[id]! > scores[best]!) best = id;
  return best;
}

// log softmax at one token of each row, without V numbers on the host.
function logProbabilitiesOf(logits: tf.Tensor2D, tokens: readonly number[]): tf.Tensor {
  return tf.tidy(() => {
    const chosen = tokens.map((id, row) => logits.slice([row, id], [1, 1]));
    return tf.concat(chosen).squeeze([1]).sub(logits.logSumExp(-1));
  });
}

async function readAndFree(tensor: tf.Tensor): Promise<number[]> {
  try {
    return Array.from(await tensor.data());
  } finally {
    tensor.dispose();
  }
}
