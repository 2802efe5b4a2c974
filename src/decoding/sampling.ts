import seedrandom from "seedrandom";

import { InputError } from "../base/errors.js";
import { checkOptions, either, number, type OptionKinds, text } from "../base/options.js";

/** How the next token is chosen. Everything left out: the most likely one. */
export type SamplingOptions = {
  /**
   * Divides the logits; 0 takes the most likely token, whatever else is given. Giving it, or `topK` or `topP`, turns
   * sampling on (default then 1).
   */
  temperature?: number | undefined;
  /** Only the k most likely tokens, a whole number; 0 is no limit, as if it were left out. */
  topK?: number | undefined;
  /** Only the smallest set of most likely tokens whose probabilities reach p, in (0, 1]. */
  topP?: number | undefined;
  /** Makes the draws repeatable. Default: from the system. */
  seed?: number | string | undefined;
};

/** Of each of them. */
export const SAMPLING_KINDS: OptionKinds<SamplingOptions> = {
  temperature: number,
  topK: number,
  topP: number,
  seed: either(text, number),
};

/** Whether tokens are drawn; else the most likely one is taken. */
export const isSampling = ({ temperature, topK, topP }: SamplingOptions): boolean =>
  temperature === undefined ? (topK !== undefined && topK !== 0) || topP !== undefined : temperature !== 0;

/** Chooses a token id from one row of logits [V]. */
export type Sampler = (logits: Float32Array) => number;

/**
 * A sampler for the options, or null when the most likely token is wanted. Throws `InputError` for values out of range.
 */
export function createSampler(options: SamplingOptions): Sampler | null {
  const { temperature, topK, topP, seed } = checkOptions("sampling", options, SAMPLING_KINDS);
  const require = (ok: boolean, name: string, expected: string, value: unknown) => {
    if (!ok) throw new InputError(`${name}: expected ${expected}, received ${String(value)}`);
  };
  const t = temperature ?? 1;
  require(Number.isFinite(t) && t >= 0, "temperature", "a number of at least 0 (0: the most likely token)", t);
  const whole = topK === undefined || (Number.isSafeInteger(topK) && topK >= 0);
  require(whole, "topK", "a whole number of at least 0 (0: no limit)", topK);
  require(topP === undefined || (topP > 0 && topP <= 1), "topP", "a number in (0, 1]", topP);
  if (!isSampling(options)) return null;
  const limit = topK === 0 ? undefined : topK;
  const random = seedrandom(seed === undefined ? undefined : String(seed));
  return (logits) => draw(warpedProbabilities(logits, t, limit, topP), random());
}

/** A token id and its probability. */
export type Candidate = { id: number; probability: number };

/**
 * The candidates left after temperature, then top-k, then top-p, renormalised to sum 1; most likely first where `topK`
 * or `topP` cuts, else by id. `logits` [V]. Ties at the k-th place all stay; of ties at the p-th, those with the lower
 * id. Source: huggingface/transformers, generation/logits_process.py (order and tie rule of its warpers).
 */
export function warpedProbabilities(logits: Float32Array, temperature = 1, topK?: number, topP?: number): Candidate[] {
  const peak = logits.reduce((a, b) => Math.max(a, b));
  const weight = (logit: number) => Math.exp((logit - peak) / temperature);
  const kept = topK === undefined && topP === undefined ? [...logits.keys()] : likely(logits, weight, topK, topP);
  const total = kept.reduce((sum, id) => sum + weight(logits[id]), 0);
  return kept.map((id) => ({ id, probability: weight(logits[id]) / total }));
}

// Sorting numbers is ten times faster than sorting ids by their numbers, so the cut is found first and few ids are
// sorted.
function likely(logits: Float32Array, weight: (logit: number) => number, topK?: number, topP?: number): number[] {
  const ascending = logits.slice().sort();
  const V = ascending.length;
  const floor = ascending[topK === undefined ? 0 : Math.max(0, V - topK)];
  const ids: number[] = [];
  logits.forEach((logit, id) => logit >= floor && ids.push(id));
  const count = topP === undefined ? ids.length : smallestPrefix(ascending, ids.length, weight, topP);
  const last = ascending[V - count];
  return ids
    .filter((id) => logits[id] >= last)
    .sort((a, b) => logits[b] - logits[a] || a - b)
    .slice(0, count);
}

// How many of the `length` largest it takes to reach the share p of their weight.
function smallestPrefix(ascending: Float32Array, length: number, weight: (logit: number) => number, p: number): number {
  const weights = Float64Array.from({ length }, (_, i) => weight(ascending[ascending.length - 1 - i]));
  const total = weights.reduce((sum, value) => sum + value, 0);
  let reached = 0;
  const index = weights.findIndex((value) => (reached += value) >= p * total);
  return index === -1 ? length : index + 1;
}

function draw(candidates: readonly Candidate[], random: number): number {
  let reached = 0;
  const chosen = candidates.find(({ probability }) => (reached += probability) > random);
  return (chosen ?? candidates[candidates.length - 1]).id;
}
