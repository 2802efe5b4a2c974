import * as tf from "@tensorflow/tfjs";

import { inTurn, type Tap } from "../layers/tap.js";
import type { DecoderState } from "./decoder-state.js";
import { InputError } from "./errors.js";
import { type Intervention, type Interventions as Observer, prepareInterventions } from "./inspection/edit-tap.js";
import { laterPass, promptPass } from "./inspection/pass.js";
import type { ModelInputs } from "./inputs.js";
import type { PaliGemmaModel } from "./model.js";
import { createSampler, type Sampler, type SamplingOptions } from "./sampling.js";

/** How far and how to decode. */
export type GenerationOptions = SamplingOptions & {
  /** Stop after this many new tokens. Default 256; transformers' own default of 20 cuts captions short. */
  maxNewTokens?: number | undefined;
  /** Whether each token's log-probability is wanted, before temperature and cuts; it costs a sum over the vocabulary. Default no. */
  logProbabilities?: boolean | undefined;
  /** Changes of activations, made in each pass of this run. */
  edits?: readonly Intervention[] | undefined;
  /** Stops between two tokens; the iteration then throws the signal's reason. */
  signal?: AbortSignal | undefined;
};

/** Why a row ended: an end-of-sequence token came, or the limit was reached. */
export type FinishReason = "eos" | "length";

/** One decoding step: the new id of each row (the pad id for rows that have ended), and its log-probability where that was asked for. */
export type Step = { tokens: number[]; finished: (FinishReason | null)[]; logProbabilities: number[] | null };

/** The default of `maxNewTokens`. */
export const DEFAULT_MAX_NEW_TOKENS = 256;

/**
 * Decodes token by token with a cache, yielding each step, until every row has ended. The end-of-sequence id is yielded too.
 * `observe` gives a tap for each pass, which sees what `edits` have made. Decoding ends with "length" at `maxNewTokens` or at the model's last position. The inputs stay the caller's.
 * Throws `InputError` for options out of range or a prompt that leaves no room, and the signal's reason when aborted.
 */
export async function* decode(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: GenerationOptions = {},
  observe: Observer = () => null,
): AsyncGenerator<Step, void, void> {
  const { signal, logProbabilities: wantsProbabilities = false } = options;
  const intervene = prepareInterventions(options.edits ?? [], model.config);
  const prompt = { ...promptPass(model.config, inputs), lastRowOnly: true };
  const limit = tokenLimit(model, inputs, options.maxNewTokens ?? DEFAULT_MAX_NEW_TOKENS);
  const sampler = createSampler(options);
  const { eosTokenIds, padTokenId } = model.config;
  const state = model.newState((inputs.inputIds[0]?.length ?? 0) + limit);
  const finished: (FinishReason | null)[] = inputs.inputIds.map(() => null);
  try {
    let next = inputs;
    for (let step = 1; step <= limit; step++) {
      signal?.throwIfAborted();
      const pass = step === 1 ? prompt : laterPass(prompt, step - 1);
      const tap = inTurn(intervene(pass), observe(pass));
      const chosen = await choose(model, next, { state, tap, signal }, { sampler, wantsProbabilities });
      const tokens = chosen.tokens.map((id, row) => (finished[row] === null ? id : padTokenId));
      tokens.forEach((id, row) => {
        if (finished[row] === null && eosTokenIds.includes(id)) finished[row] = "eos";
        if (finished[row] === null && step === limit) finished[row] = "length";
      });
      yield { tokens, finished: [...finished], logProbabilities: chosen.logProbabilities };
      if (finished.every((reason) => reason !== null)) return;
      next = followUp(tokens);
    }
  } finally {
    state.dispose();
  }
}

// A generated token stands behind the block and sees everything real before it.
const followUp = (tokens: number[]): ModelInputs => ({
  pixelValues: null,
  inputIds: tokens.map((id) => [id]),
  tokenTypeIds: tokens.map(() => [1]),
});

async function choose(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  run: { state: DecoderState; tap: Tap; signal: AbortSignal | undefined },
  { sampler, wantsProbabilities }: { sampler: Sampler | null; wantsProbabilities: boolean },
): Promise<{ tokens: number[]; logProbabilities: number[] | null }> {
  const logits = await model.forwardAsync(inputs, { ...run, rows: "last" });
  const last = tf.tidy(() => logits.squeeze([1]) as tf.Tensor2D); // [B, V]
  logits.dispose();
  try {
    const tokens = await pick(last, sampler);
    return { tokens, logProbabilities: wantsProbabilities ? await logProbabilitiesOf(last, tokens) : null };
  } finally {
    last.dispose();
  }
}

async function pick(logits: tf.Tensor2D, sampler: Sampler | null): Promise<number[]> {
  if (sampler) {
    const V = logits.shape[1];
    const values = (await logits.data()) as Float32Array;
    return Array.from({ length: logits.shape[0] }, (_, row) => sampler(values.subarray(row * V, (row + 1) * V)));
  }
  const best = logits.argMax(-1);
  try {
    return Array.from(await best.data());
  } finally {
    best.dispose();
  }
}

// log softmax at one token of each row, without V numbers on the host.
async function logProbabilitiesOf(logits: tf.Tensor2D, tokens: readonly number[]): Promise<number[]> {
  const values = tf.tidy(() => {
    const chosen = tokens.map((id, row) => logits.slice([row, id], [1, 1]));
    return tf.concat(chosen).squeeze([1]).sub(logits.logSumExp(-1));
  });
  try {
    return Array.from(await values.data());
  } finally {
    values.dispose();
  }
}

function tokenLimit(model: PaliGemmaModel, inputs: ModelInputs, maxNewTokens: number): number {
  if (!Number.isSafeInteger(maxNewTokens) || maxNewTokens < 1) {
    throw new InputError(`maxNewTokens: expected a whole number >= 1, received ${maxNewTokens}`);
  }
  const context = model.config.text.maxPositionEmbeddings;
  // What leaves no room at all is refused by the first forward pass, with everything else that does not fit.
  const prompt = inputs.inputIds[0]?.length ?? 0;
  return Math.max(1, Math.min(maxNewTokens, context - prompt + 1));
}
