import { InputError } from "../base/errors.js";
import { checkIndices } from "../hooks/indices.js";
import { anything, atOnce, checkOptions, either, list, listed, number, type OptionKinds } from "../base/options.js";
import { requireWhole } from "../base/whole-number.js";
import { lastAmong, never, noEarlyEnd, noRepeatedRuns, notFirst } from "./generation-rules.js";
import type { TokenRule } from "./token-rule.js";

/**
 * Tokens that an answer may go on with: a list for every step, or a function of what has been generated (null:
 * anything).
 */
export type AllowedTokens = readonly number[] | ((generated: readonly number[]) => readonly number[] | null);

/** What changes the scores of the next token before it is chosen. */
export type TokenRules = {
  /**
   * Makes tokens less likely that the prompt or the answer already holds: a score s becomes s / penalty above zero and
   * s · penalty below. Above 1 against repetition; 1 (default) changes nothing. PaliGemma was not trained with any.
   */
  repetitionPenalty?: number | undefined;
  /** Runs of ids that never appear in an answer. */
  badWords?: readonly (readonly number[])[] | undefined;
  /** The only tokens there are. */
  allowedTokens?: AllowedTokens | undefined;
  /** The ids that the answer begins with. */
  forcedPrefix?: readonly number[] | undefined;
  /** No run of so many ids comes twice, the prompt counted. Default 0: no such rule. */
  noRepeatNgramSize?: number | undefined;
  /** No answer ends before it has so many tokens. Default 0. */
  minNewTokens?: number | undefined;
  /** The same, the prompt counted. Default 0. */
  minLength?: number | undefined;
  /** Ids that never come, and those that do not come first. */
  suppressTokens?: readonly number[] | undefined;
  beginSuppressTokens?: readonly number[] | undefined;
  /** The only ids, or id, that an answer of the greatest length may end with. */
  forcedEosTokenId?: number | readonly number[] | undefined;
};

/** Of each of them; ids are checked against the vocabulary. */
export const RULE_KINDS: OptionKinds<TokenRules> = {
  repetitionPenalty: number,
  badWords: list,
  allowedTokens: anything,
  forcedPrefix: list,
  noRepeatNgramSize: number,
  minNewTokens: number,
  minLength: number,
  suppressTokens: list,
  beginSuppressTokens: list,
  forcedEosTokenId: either(number, list),
};

/** The rules among the options of a run. */
export const rulesOf = (options: TokenRules): TokenRules =>
  Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(RULE_KINDS, name)));

/** What rules are made for: the ids that there are, and those that end an answer. */
export type RuleVocabulary = { vocabSize: number; eosTokenIds: readonly number[] };

/**
 * The rules of the options as one, applied in the order of transformers; null without any. The rule throws `InputError`
 * where nothing is left to choose from. Throws it here for values out of range. Source: huggingface/transformers,
 * generation/utils.py `_get_logits_processor` (order), generation/logits_process.py.
 */
export function tokenRule(options: TokenRules, vocabulary: RuleVocabulary): TokenRule | null {
  const checked = checkedRules(options, vocabulary.vocabSize);
  const rules = inOrder(checked, vocabulary);
  if (rules.length === 0) return null;
  return (scores, history) => {
    for (const rule of rules) rule(scores, history);
    if (scores.every((score) => score === -Infinity)) {
      const some = Object.keys(checked).filter((name) => name !== "repetitionPenalty");
      throw new InputError(`${some.join(", ")}: leave no token to choose from; allow <eos> where an answer may end`);
    }
  };
}

function inOrder(options: TokenRules, { vocabSize, eosTokenIds }: RuleVocabulary): TokenRule[] {
  const { repetitionPenalty = 1, noRepeatNgramSize = 0, badWords = [], minNewTokens = 0, minLength = 0 } = options;
  const { allowedTokens, forcedEosTokenId, suppressTokens, beginSuppressTokens, forcedPrefix = [] } = options;
  const rules: TokenRule[] = [];
  if (repetitionPenalty !== 1) rules.push(penalised(repetitionPenalty));
  if (noRepeatNgramSize > 0) rules.push(noRepeatedRuns(noRepeatNgramSize));
  if (badWords.length > 0) rules.push(without(badWords));
  if (minNewTokens > 0 || minLength > 0) rules.push(noEarlyEnd({ eosTokenIds, minNewTokens, minLength }));
  if (allowedTokens) rules.push(only(allowedTokens, vocabSize));
  if (forcedEosTokenId !== undefined) rules.push(lastAmong(listed(forcedEosTokenId)));
  if (suppressTokens) rules.push(never(suppressTokens));
  if (beginSuppressTokens) rules.push(notFirst(beginSuppressTokens));
  if (forcedPrefix.length > 0) rules.push(beginning(forcedPrefix));
  return rules;
}

/** The options that are given, each in its range. */
function checkedRules(options: TokenRules, vocabSize: number): TokenRules {
  const given = Object.entries(checkOptions("rules", options, RULE_KINDS)).filter(([, value]) => value !== undefined);
  const { repetitionPenalty = 1, badWords = [], allowedTokens, forcedPrefix = [] } = options;
  if (!(Number.isFinite(repetitionPenalty) && repetitionPenalty > 0)) {
    throw new InputError(`repetitionPenalty: expected a number above 0, received ${repetitionPenalty}`);
  }
  for (const name of ["noRepeatNgramSize", "minNewTokens", "minLength"] as const)
    requireWhole(name, options[name] ?? 0, 0);
  badWords.forEach((ids, i) => checkIds(`badWords[${i}]`, ids, vocabSize));
  if (allowedTokens !== undefined && typeof allowedTokens !== "function") {
    checkIds("allowedTokens", allowedTokens, vocabSize);
  }
  if (forcedPrefix.length > 0) checkIds("forcedPrefix", forcedPrefix, vocabSize);
  for (const name of ["suppressTokens", "beginSuppressTokens", "forcedEosTokenId"] as const) {
    const ids = options[name];
    if (ids !== undefined) checkIds(name, listed(ids), vocabSize);
  }
  return Object.fromEntries(given);
}

const penalised =
  (penalty: number): TokenRule =>
  (scores, { prompt, generated }) => {
    for (const id of new Set([...prompt, ...generated])) scores[id] *= scores[id]! < 0 ? penalty : 1 / penalty;
  };

const without =
  (badWords: readonly (readonly number[])[]): TokenRule =>
  (scores, { prompt, generated }) => {
    const longest = badWords.reduce((most, ids) => Math.max(most, ids.length), 0);
    const before = [...prompt, ...generated].slice(-longest);
    for (const ids of badWords) {
      const begun = ids.slice(0, -1);
      const tail = begun.length === 0 ? [] : before.slice(-begun.length);
      if (tail.length === begun.length && begun.every((id, i) => id === tail[i])) scores[ids.at(-1)!] = -Infinity;
    }
  };

const only =
  (allowed: AllowedTokens, vocabSize: number): TokenRule =>
  (scores, { generated }) => {
    const ids = typeof allowed === "function" ? atOnce("allowedTokens", allowed(generated)) : allowed;
    if (ids === null) return;
    if (typeof allowed === "function") checkIds("allowedTokens", ids, vocabSize);
    const kept = ids.map((id) => scores[id]!);
    scores.fill(-Infinity);
    ids.forEach((id, i) => (scores[id] = kept[i]!));
  };

const beginning =
  (prefix: readonly number[]): TokenRule =>
  (scores, { generated }) => {
    const id = prefix[generated.length];
    if (id === undefined) return;
    const score = scores[id]!;
    scores.fill(-Infinity);
    scores[id] = score === -Infinity ? 0 : score; // what is forced is chosen even where another rule forbids it
  };

function checkIds(name: string, ids: readonly number[], vocabSize: number): void {
  checkIndices(name, ids, vocabSize, "ids");
  if (ids.length === 0) throw new InputError(`${name}: expected at least one token id, received none`);
}
