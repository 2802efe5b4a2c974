import * as tf from "@tensorflow/tfjs";

import { inTurn, noTap, type Tap } from "../../layers/tap.js";
import type { DecoderState } from "../model/decoder-state.js";
import { type Interventions as Observer, prepareInterventions } from "../hooks/edit-tap.js";
import { laterPass, type Pass, promptPass, repeatedRows } from "../hooks/pass.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import { checkOptions } from "../base/options.js";
import { type Chosen, type Chooser, choose } from "./choose.js";
import type { LikelyToken } from "./log-probabilities.js";
import { DECODING_KINDS, type DecodingOptions, type FinishReason } from "./options.js";
import { extendRow, followUp, type Row, startRows } from "./rows.js";
import { rulesOf, type RuleVocabulary, tokenRule } from "./rules.js";
import { requireWhole } from "../base/whole-number.js";

/**
 * One decoding step of every row; rows that ended before have the pad id, no log-probability (NaN) and no likeliest
 * tokens.
 */
export type Step = {
  tokens: number[];
  finished: (FinishReason | null)[];
  /** Null unless asked for. */
  logProbabilities: number[] | null;
  /** Null unless asked for. */
  likeliest: LikelyToken[][] | null;
};

/**
 * Decodes token by token with a cache, yielding each step, until every row has ended. The end-of-sequence id is yielded
 * too. Rows may be of unequal length, padded on the left; each decodes as it would alone, and one that has ended leaves
 * the batch, unless somebody watches: `observe` gives a tap for each pass, which sees what `edits` have made, of all
 * rows. A row ends with "length" at `maxNewTokens` or at the model's last position. The inputs stay the caller's.
 * Throws `InputError` for options out of range or a prompt that leaves no room, `WeightsError` where the largest logit
 * is not finite, and the signal's reason when aborted.
 */
export async function* decode(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: DecodingOptions = {},
  observe: Observer = () => null,
): AsyncGenerator<Step, void, void> {
  const { signal, copies = 1, stopRules, edits = [] } = checkOptions("decode", options, DECODING_KINDS);
  const { eosTokenIds, padTokenId } = model.config;
  const rows = startRows(model.config, inputs, options);
  const passes = Math.max(...rows.map(({ limit }) => limit));
  const intervene = prepareInterventions(edits, model.config, { inputs, passes });
  const chooser = chooserFor(options, { vocabSize: model.config.text.vocabSize, eosTokenIds });
  let prompt: Pass = { ...promptPass(model.config, inputs), lastRowOnly: true };
  const state = model.newState(prompt.prompt + passes);
  let present = rows;
  let next = inputs;
  try {
    for (let step = 0; ; step++) {
      signal?.throwIfAborted();
      const pass = step === 0 ? prompt : laterPass(prompt, step);
      const tap = inTurn(intervene(pass), observe(pass));
      const logits = await lastLogits(model, next, { state, tap, signal }, step === 0 ? copies : 1);
      if (step === 0) prompt = repeatedRows(prompt, copies);
      const chosen = await chooseAndFree(logits, present, chooser);
      const going = new Map(
        present.map((row, i) => [row, chosen[i]] as const).filter(([row]) => row.finished === null),
      );
      for (const [row, { token }] of going) extendRow(row, token, { eosTokenIds, stopRules });
      yield stepOf(rows, going, chooser, padTokenId);
      if (rows.every(({ finished }) => finished !== null)) return;
      if (tap === noTap) present = keepUnfinished(state, present);
      next = followUp(present.map((row) => (row.finished === null ? row.generated.at(-1)! : padTokenId)));
    }
  } finally {
    state.dispose();
  }
}

function chooserFor(options: DecodingOptions, vocabulary: RuleVocabulary): Chooser {
  const { logProbabilities = false, topLogProbabilities: top = 0 } = options;
  requireWhole("topLogProbabilities", top, 0);
  return { rule: tokenRule(rulesOf(options), vocabulary), logProbabilities, top };
}

// The rows that go on, which then are all that the state holds.
function keepUnfinished(state: DecoderState, present: Row[]): Row[] {
  const going = [...present.keys()].filter((i) => present[i].finished === null);
  if (going.length === present.length) return present;
  state.selectRows(going);
  return going.map((i) => present[i]);
}

/**
 * Logits [B · copies, V] of the last position, each row's `copies` one after another; the state then has as many rows.
 * The caller owns them.
 */
export async function lastLogits(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  run: { state: DecoderState; tap: Tap; signal: AbortSignal | undefined },
  copies = 1,
): Promise<tf.Tensor2D> {
  const logits = await model.forwardAsync(inputs, { ...run, rows: "last" }); // [B, 1, V]
  const each = inputs.inputIds.flatMap((_, b) => Array.from({ length: copies }, () => b));
  if (copies > 1) run.state.selectRows(each);
  const last = tf.tidy(() => {
    const rows = logits.squeeze([1]);
    return (copies > 1 ? tf.gather(rows, tf.tensor1d(each, "int32")) : rows) as tf.Tensor2D;
  });
  logits.dispose();
  return last;
}

async function chooseAndFree(logits: tf.Tensor2D, rows: readonly Row[], chooser: Chooser): Promise<Chosen[]> {
  try {
    return await choose(logits, rows, chooser);
  } finally {
    logits.dispose();
  }
}

function stepOf(
  rows: readonly Row[],
  going: ReadonlyMap<Row, Chosen>,
  { logProbabilities, top }: Chooser,
  padTokenId: number,
): Step {
  const each = rows.map((row) => going.get(row));
  return {
    tokens: each.map((chosen) => chosen?.token ?? padTokenId),
    finished: rows.map(({ finished }) => finished),
    logProbabilities: logProbabilities ? each.map((chosen) => chosen?.logProbability ?? NaN) : null,
    likeliest: top > 0 ? each.map((chosen) => chosen?.likeliest ?? []) : null,
  };
}
