import type { TokenRule } from "./token-rule.js";

/** The ids that end an answer, and how many tokens come before one may. */
export type LeastTokens = { eosTokenIds: readonly number[]; minNewTokens: number; minLength: number };

/**
 * Forbids the end before an answer has `minNewTokens` tokens, or with its prompt `minLength`.
 * Source: huggingface/transformers, generation/logits_process.py (MinLength-, MinNewTokensLengthLogitsProcessor).
 */
export const noEarlyEnd =
  ({ eosTokenIds, minNewTokens, minLength }: LeastTokens): TokenRule =>
  (scores, { prompt, generated }) => {
    const long = generated.length >= minNewTokens && prompt.length + generated.length >= minLength;
    if (!long) for (const id of eosTokenIds) scores[id] = -Infinity;
  };

/**
 * Forbids each token that would complete a run of `size` tokens for the second time, those of the prompt counted.
 * Source: the same file, `_calc_banned_ngram_tokens`.
 */
export const noRepeatedRuns =
  (size: number): TokenRule =>
  (scores, { prompt, generated }) => {
    const ids = [...prompt, ...generated];
    const begun = ids.length - size + 1; // where the run that the next token completes begins
    const sameFrom = (at: number) =>
      Array.from({ length: size - 1 }, (_, i) => i).every((i) => ids[at + i] === ids[begun + i]);
    for (let at = 0; at < begun; at++) if (sameFrom(at)) scores[ids[at + size - 1]!] = -Infinity;
  };

/** Forbids tokens at every place. Source: the same file, SuppressTokensLogitsProcessor. */
export const never =
  (ids: readonly number[]): TokenRule =>
  (scores) => {
    for (const id of ids) scores[id] = -Infinity;
  };

/** Forbids tokens at the first place. Source: the same file, SuppressTokensAtBeginLogitsProcessor. */
export const notFirst =
  (ids: readonly number[]): TokenRule =>
  (scores, { generated }) => {
    if (generated.length === 0) for (const id of ids) scores[id] = -Infinity;
  };

/**
 * Leaves only these tokens at the last place that an answer has. Source: the same file, ForcedEOSTokenLogitsProcessor.
 */
export const lastAmong =
  (ids: readonly number[]): TokenRule =>
  (scores, { generated, limit }) => {
    if (generated.length !== limit - 1) return;
    scores.fill(-Infinity);
    for (const id of ids) scores[id] = 0;
  };
