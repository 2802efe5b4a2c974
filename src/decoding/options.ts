import { InputError } from "../base/errors.js";
import type { Intervention } from "../hooks/edit-tap.js";
import { abortSignal, anything, callback, flag, listOf, number, type OptionKinds } from "../base/options.js";
import { RULE_KINDS, type TokenRules } from "./rules.js";
import { SAMPLING_KINDS, type SamplingOptions } from "./sampling.js";
import { requireWhole } from "../base/whole-number.js";

/** Says of one answer, after each of its tokens, whether it ends there. */
export type StopRule = (generated: readonly number[]) => boolean;

/**
 * How far and how to decode, in token ids. Log-probabilities are the model's own: before temperature, cuts and rules.
 */
export type DecodingOptions = SamplingOptions &
  TokenRules & {
    /** Stop after this many new tokens. Default 256; transformers' own default of 20 cuts captions short. */
    maxNewTokens?: number | undefined;
    /** Stop where prompt and answer have so many tokens together. Default: no such limit. */
    maxLength?: number | undefined;
    /** Whether each token's log-probability is wanted; it costs a sum over the vocabulary. Default no. */
    logProbabilities?: boolean | undefined;
    /** How many of the likeliest tokens are wanted with each token. Default 0. */
    topLogProbabilities?: number | undefined;
    /** How many answers to each prompt; they share its pass, and each has its own draws. Default 1. */
    copies?: number | undefined;
    /** End an answer before `<eos>` comes; the token that made a rule say so is still part of it. */
    stopRules?: readonly StopRule[] | undefined;
    /** Changes of activations, made in each pass of this run. */
    edits?: readonly Intervention[] | undefined;
    /** Stops between two tokens; the iteration then throws the signal's reason. */
    signal?: AbortSignal | undefined;
  };

/** Of each of them; interventions are checked where they are prepared. */
export const DECODING_KINDS: OptionKinds<DecodingOptions> = {
  ...SAMPLING_KINDS,
  ...RULE_KINDS,
  maxNewTokens: number,
  maxLength: number,
  logProbabilities: flag,
  topLogProbabilities: number,
  copies: number,
  stopRules: listOf(callback, "a list of functions"),
  edits: anything,
  signal: abortSignal,
};

/** Why an answer ended: an end-of-sequence token came, a stop rule said so, or the limit was reached. */
export type FinishReason = "eos" | "stop" | "length";

/** The default of `maxNewTokens`. */
export const DEFAULT_MAX_NEW_TOKENS = 256;

/**
 * How many tokens each answer may have: `maxNewTokens` (without it and `maxLength` the default), or fewer where prompt
 * and answer have `maxLength` tokens, or the model's context of `maxPositionEmbeddings` ends, before. A prompt that
 * leaves no room in the context gets 1: the first pass refuses it with everything else that does not fit. Throws
 * `InputError` for limits that are no whole numbers >= 1, and for a prompt that has `maxLength` tokens already.
 */
export function tokenLimits(
  promptLengths: readonly number[],
  context: number,
  { maxNewTokens, maxLength }: Pick<DecodingOptions, "maxNewTokens" | "maxLength"> = {},
): number[] {
  const most = maxNewTokens ?? (maxLength === undefined ? DEFAULT_MAX_NEW_TOKENS : context);
  requireWhole("maxNewTokens", most, 1);
  if (maxLength !== undefined) requireWhole("maxLength", maxLength, 1);
  const longest = Math.max(...promptLengths);
  if (maxLength !== undefined && longest >= maxLength) {
    throw new InputError(`maxLength: expected more than the ${longest} tokens of the prompt, received ${maxLength}`);
  }
  return promptLengths.map((length) =>
    Math.max(1, Math.min(most, context - length + 1, (maxLength ?? Infinity) - length)),
  );
}

/** What ends an answer before its limit. */
export type Ending = { eosTokenIds: readonly number[]; stopRules?: readonly StopRule[] | undefined };

/** Why an answer that has these tokens ends with the last of them, or null where it goes on. */
export function finishOf(
  generated: readonly number[],
  { eosTokenIds, stopRules = [], limit }: Ending & { limit: number },
): FinishReason | null {
  if (eosTokenIds.includes(generated.at(-1)!)) return "eos";
  if (stopRules.some((rule) => rule(generated))) return "stop";
  return generated.length >= limit ? "length" : null;
}
