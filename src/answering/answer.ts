import type { BackendName } from "../backends/backend.js";
import type { Decoded } from "../decoding/answers.js";
import type { LikelyToken } from "../decoding/log-probabilities.js";
import type { Hypothesis } from "../decoding/beam-row.js";
import type { FinishReason } from "../decoding/options.js";
import { beforeStop, type GenerationOptions } from "../decoding/text-options.js";
import type { Dtype } from "../backends/dtypes.js";
import type { Tokenizer } from "../input/tokenizer/tokenizer.js";

/** Where the time of one answer went, in milliseconds; answers of one batch share theirs. */
export type Timings = { preprocess: number; prefill: number; decode: number; total: number };

/** One of several answers to a question. */
export type RankedAnswer = Hypothesis & {
  text: string;
  /**
   * Beams: sum of log-probabilities / length^lengthPenalty. Best of several: mean log-probability of a token, in nats.
   */
  score: number;
};

/**
 * One answer. `tokens` are the new ids, the end-of-sequence id included; `text` is without special tokens and stop
 * strings.
 */
export type Answer = {
  text: string;
  tokens: number[];
  /** Ids of the prompt, those of its pictures included, pads not. */
  promptTokens: number;
  finishReason: FinishReason;
  backend: BackendName;
  dtype: Dtype;
  timings: Timings;
  /** Of each token, where `logProbabilities` was asked for. */
  logProbabilities?: number[];
  /** The likeliest tokens at each place, where `topLogProbabilities` was asked for. */
  likeliest?: (LikelyToken & { text: string })[][];
  /** The answers ranked, best first, where `numBeams` or `bestOf` is above 1; the first is this one. */
  hypotheses?: RankedAnswer[];
};

/** The parts of an answer that come from its tokens. */
export function inWords(
  { tokens, finishReason, logProbabilities, likeliest, ranked }: Decoded,
  tokenizer: Tokenizer,
  { stopStrings, numReturnSequences = 1 }: GenerationOptions,
): Omit<Answer, "promptTokens" | "backend" | "dtype" | "timings"> {
  const textOf = (ids: readonly number[]) =>
    beforeStop(tokenizer.decode(ids, { skipSpecialTokens: true }), stopStrings);
  const spelt = (one: LikelyToken) => ({ ...one, text: tokenizer.idToToken(one.token) ?? "" });
  return {
    text: textOf(tokens),
    tokens,
    finishReason,
    ...(logProbabilities && { logProbabilities }),
    ...(likeliest && { likeliest: likeliest.map((step) => step.map(spelt)) }),
    ...(ranked && {
      hypotheses: ranked.slice(0, numReturnSequences).map((one) => ({ ...one, text: textOf(one.tokens) })),
    }),
  };
}
