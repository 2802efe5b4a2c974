import type * as tf from "@tensorflow/tfjs";

import { noTap } from "../../layers/tap.js";
import { InputError } from "../base/errors.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import { checkOptions } from "../base/options.js";
import { BEAM_KINDS, type BeamOptions, BeamRow, type Hypothesis } from "./beam-row.js";
import { lastLogits } from "./decode.js";
import { requireFiniteLogits } from "./finite-logits.js";
import { logSumExp } from "./log-probabilities.js";
import { DECODING_KINDS, type DecodingOptions } from "./options.js";
import { followUp, startRows } from "./rows.js";
import { isSampling } from "./sampling.js";
import { rulesOf, tokenRule } from "./rules.js";
import type { TokenRule } from "./token-rule.js";

/**
 * The best answers to each prompt by beam search, at most `numBeams`, best first. Rows may be of unequal length, padded
 * on the left; a row that is decided leaves the batch. Rules change log-probabilities, which are not normalised again.
 * The inputs stay the caller's. `onFirst` is called when the pass over the prompts is done. Throws `InputError` for
 * options out of range or that mean nothing here (sampling, copies, edits, other likely tokens), `WeightsError` where
 * the largest logit is not finite, and the signal's reason when aborted.
 */
export async function beamSearch(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: DecodingOptions & BeamOptions,
  onFirst: () => void = () => {},
): Promise<Hypothesis[][]> {
  checkOptions("beamSearch", options, { ...DECODING_KINDS, ...BEAM_KINDS });
  requireOnlyBeams(options);
  const { signal, stopRules, numBeams, lengthPenalty, earlyStopping } = options;
  const { eosTokenIds, text } = model.config;
  const rule = tokenRule(rulesOf(options), { vocabSize: text.vocabSize, eosTokenIds });
  const beams = { numBeams, lengthPenalty, earlyStopping };
  const rows = startRows(model.config, inputs, options).map(
    (row) => new BeamRow(row, beams, { eosTokenIds, stopRules }),
  );
  const longest = Math.max(...rows.map(({ row }) => row.limit));
  const state = model.newState((inputs.inputIds[0]?.length ?? 0) + longest);
  try {
    let present = rows;
    let next = inputs;
    while (present.length > 0) {
      signal?.throwIfAborted();
      const logits = await lastLogits(model, next, { state, tap: noTap, signal });
      if (next === inputs) onFirst();
      const scores = await scoresAndFree(logits, present, rule);
      const goOn = advanceAll(present, scores);
      present = present.filter(({ done }) => !done);
      if (present.length > 0) state.selectRows(goOn.map(({ place }) => place));
      next = followUp(goOn.map(({ token }) => token));
    }
  } finally {
    state.dispose();
  }
  return rows.map(({ finished }) => finished);
}

// The scores [V] of every running beam of every row: log-probabilities, changed by the rule.
async function scoresAndFree(
  logits: tf.Tensor2D,
  rows: readonly BeamRow[],
  rule: TokenRule | null,
): Promise<Float32Array[][]> {
  const V = logits.shape[1];
  const values = await valuesAndFree(logits);
  let place = 0;
  return rows.map(({ row, running }) =>
    running.map(({ generated }) => {
      const scores = values.subarray(place * V, ++place * V);
      requireFiniteLogits(scores, { prompt: row.place ?? 0, token: generated.length });
      const total = logSumExp(scores);
      for (let id = 0; id < V; id++) scores[id] -= total;
      rule?.(scores, { prompt: row.prompt, generated, limit: row.limit });
      return scores;
    }),
  );
}

async function valuesAndFree(logits: tf.Tensor2D): Promise<Float32Array> {
  try {
    return ((await logits.data()) as Float32Array).slice(); // a backend may have handed out its own memory
  } finally {
    logits.dispose();
  }
}

// How the beams of all rows go on: the place of each in the batch of this step, and its token.
function advanceAll(rows: readonly BeamRow[], scores: readonly Float32Array[][]): { place: number; token: number }[] {
  let first = 0;
  return rows.flatMap((row, i) => {
    const offset = first;
    first += scores[i].length;
    return row.advance(scores[i]).map(({ beam, token }) => ({ place: offset + beam, token }));
  });
}

function requireOnlyBeams(options: DecodingOptions): void {
  const { temperature, topK, topP, seed, copies, edits, topLogProbabilities } = options;
  const drawn = isSampling(options) ? { temperature, topK, topP } : {};
  const given = { ...drawn, seed, bestOf: copies, edits, topLogProbabilities };
  const wrong = Object.entries(given).find(([, value]) => value !== undefined);
  if (wrong) throw new InputError(`${wrong[0]}: expected to be left out, for beam search (numBeams) has no use for it`);
}
