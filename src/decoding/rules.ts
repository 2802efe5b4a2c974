import { InputError } from "../errors.js";
import { checkIndices } from "../inspection/indices.js";
import { anything, checkOptions, list, number, type OptionKinds } from "../options.js";

/** Tokens that an answer may go on with: a list for every step, or a function of what has been generated (null: anything). */
export type AllowedTokens = readonly number[] | ((generated: readonly number[]) => readonly number[] | null);

/** What changes the scores of the next token before it is chosen. */
export type TokenRules = {
  /**
   * Makes tokens less likely that the prompt or the answer already holds: a score s becomes s / penalty above zero and s · penalty
   * below. Above 1 against repetition; 1 (default) changes nothing. PaliGemma was not trained with any.
   */
  repetitionPenalty?: number | undefined;
  /** Runs of ids that never appear in an answer. */
  badWords?: readonly (readonly number[])[] | undefined;
  /** The only tokens there are. */
  allowedTokens?: AllowedTokens | undefined;
  /** The ids that the answer begins with. */
  forcedPrefix?: readonly number[] | undefined;
};

/** Of each of them; ids are checked against the vocabulary. */
export const RULE_KINDS: OptionKinds<TokenRules> = {
  repetitionPenalty: number,
  badWords: list,
  allowedTokens: anything,
  forcedPrefix: list,
};

/** The rules among the options of a run. */
export const rulesOf = ({ repetitionPenalty, badWords, allowedTokens, forcedPrefix }: TokenRules): TokenRules => ({
  repetitionPenalty,
  badWords,
  allowedTokens,
  forcedPrefix,
});

/** What a row holds so far: the prompt's ids without pads, and what has been generated. */
export type History = { prompt: readonly number[]; generated: readonly number[] };

/** Changes the scores [V] of one row's next token in place; -Infinity forbids a token. */
export type TokenRule = (scores: Float32Array, history: History) => void;

/**
 * The rules of the options as one, applied in the order of transformers: penalty, bad words, allowed tokens, then the prefix; null
 * without any. The rule throws `InputError` where nothing is left to choose from. Throws it here for values out of range.
 * Source: huggingface/transformers, generation/logits_process.py (RepetitionPenalty-, NoBadWords-, PrefixConstrainedLogitsProcessor).
 */
export function tokenRule(options: TokenRules, vocabSize: number): TokenRule | null {
  const {
    repetitionPenalty = 1,
    badWords = [],
    allowedTokens,
    forcedPrefix = [],
  } = checkOptions("rules", options, RULE_KINDS);
  if (!(Number.isFinite(repetitionPenalty) && repetitionPenalty > 0)) {
    throw new InputError(`repetitionPenalty: expected a number above 0, received ${repetitionPenalty}`);
  }
  badWords.forEach((ids, i) => checkIds(`badWords[${i}]`, ids, vocabSize));
  if (allowedTokens !== undefined && typeof allowedTokens !== "function") {
    checkIds("allowedTokens", allowedTokens, vocabSize);
  }
  if (forcedPrefix.length > 0) checkIds("forcedPrefix", forcedPrefix, vocabSize);
  const rules: TokenRule[] = [];
  if (repetitionPenalty !== 1) rules.push(penalised(repetitionPenalty));
  if (badWords.length > 0) rules.push(without(badWords));
  if (allowedTokens) rules.push(only(allowedTokens, vocabSize));
  if (forcedPrefix.length > 0) rules.push(beginning(forcedPrefix));
  if (rules.length === 0) return null;
  return (scores, history) => {
    for (const rule of rules) rule(scores, history);
    if (scores.every((score) => score === -Infinity)) {
      throw new InputError(
        "badWords, allowedTokens: leave no token to choose from; allow <eos> where an answer may end",
      );
    }
  };
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
    const ids = typeof allowed === "function" ? allowed(generated) : allowed;
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
