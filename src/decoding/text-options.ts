import { InputError } from "../base/errors.js";
import {
  abortSignal,
  anything,
  checkOptions,
  described,
  either,
  flag,
  list,
  listed,
  number,
  type OptionKinds,
  text,
  textOrTexts,
} from "../base/options.js";
import { parseObjects } from "../grammar/parse-objects.js";
import type { Tokenizer } from "../input/tokenizer/tokenizer.js";
import { BEAM_KINDS, type BeamOptions } from "./beam-row.js";
import type { DecodingOptions, StopRule } from "./options.js";
import { type AllowedTokens, RULE_KINDS } from "./rules.js";
import { SAMPLING_KINDS } from "./sampling.js";

/** How far and how to decode, where text may stand for token ids. */
export type GenerationOptions = Omit<
  DecodingOptions,
  "badWords" | "allowedTokens" | "forcedPrefix" | "stopRules" | "copies"
> &
  BeamOptions & {
    /**
     * What never appears in an answer: runs of ids, or text, which is meant at the beginning of a word and inside of
     * one.
     */
    badWords?: string | readonly (string | readonly number[])[] | undefined;
    /**
     * What an answer may hold: whole `choices`, "locations" (`<loc>` tokens) until it ends, ids, or ids by what has
     * been generated.
     */
    allowedTokens?: AllowedTokens | "locations" | { choices: string | readonly string[] } | undefined;
    /** What the answer begins with. */
    forcedPrefix?: string | readonly number[] | undefined;
    /** End the answer where one of these texts is complete; it is not part of the answer's text. */
    stopStrings?: string | readonly string[] | undefined;
    /**
     * End the answer when a box with its label comes a second time: pretrained checkpoints repeat the last one up to
     * the limit.
     */
    stopAtRepeatedBox?: boolean | undefined;
    /** Draw so many answers and rank them by their mean log-probability; needs sampling. Default 1. */
    bestOf?: number | undefined;
    /** How many answers of `numBeams` or `bestOf` are reported as `hypotheses`, best first. Default 1. */
    numReturnSequences?: number | undefined;
  };

/** Of each of them; ids, and what may be a list, are checked where they are read. */
export const GENERATION_KINDS: OptionKinds<GenerationOptions> = {
  ...SAMPLING_KINDS,
  ...BEAM_KINDS,
  ...RULE_KINDS,
  maxNewTokens: number,
  maxLength: number,
  logProbabilities: flag,
  topLogProbabilities: number,
  badWords: either(text, list),
  allowedTokens: anything,
  forcedPrefix: either(text, list),
  stopStrings: textOrTexts,
  stopAtRepeatedBox: flag,
  bestOf: number,
  numReturnSequences: number,
  edits: anything,
  signal: abortSignal,
};

/** The options in token ids. Throws `InputError` for text that gives no ids. */
export function inTokens(
  options: GenerationOptions,
  { tokenizer, eosTokenIds }: { tokenizer: Tokenizer; eosTokenIds: readonly number[] },
): DecodingOptions & BeamOptions {
  const { badWords, allowedTokens, forcedPrefix, stopStrings, stopAtRepeatedBox, bestOf, ...rest } = checkOptions(
    "options",
    options,
    GENERATION_KINDS,
  );
  const { numReturnSequences, ...same } = rest;
  const textOf = (ids: readonly number[]) => tokenizer.decode([...ids], { skipSpecialTokens: true });
  const stopRules: StopRule[] = [];
  if (stopStrings !== undefined) stopRules.push(stopsAt(checkedStops(stopStrings), textOf));
  if (stopAtRepeatedBox) stopRules.push((generated) => repeatsBox(textOf(generated)));
  return {
    ...same,
    copies: bestOf,
    badWords: badWords === undefined ? undefined : listed(badWords).flatMap((word) => unwanted(word, tokenizer)),
    allowedTokens: allowedIds(allowedTokens, tokenizer, eosTokenIds),
    forcedPrefix: typeof forcedPrefix === "string" ? encoded("forcedPrefix", forcedPrefix, tokenizer) : forcedPrefix,
    stopRules,
  };
}

/** A text up to the first of the stop strings that is in it. */
export function beforeStop(text: string, stopStrings: string | readonly string[] = []): string {
  const places = listed(stopStrings)
    .map((stop) => text.indexOf(stop))
    .filter((at) => at >= 0);
  return places.length === 0 ? text : text.slice(0, Math.min(...places));
}

function checkedStops(stopStrings: string | readonly string[]): readonly string[] {
  const stops = listed(stopStrings);
  if (!stops.includes("")) return stops;
  throw new InputError("stopStrings: expected some text in each, received an empty one");
}

const stopsAt =
  (stopStrings: readonly string[], textOf: (ids: readonly number[]) => string): StopRule =>
  (generated) => {
    const text = textOf(generated);
    return stopStrings.some((stop) => text.includes(stop));
  };

// Whether the object that a separator has just closed was there before.
function repeatsBox(text: string): boolean {
  if (!text.trimEnd().endsWith(";")) return false;
  const seen = parseObjects(text).objects.flatMap((one) => (one.valid ? [JSON.stringify([one.box, one.label])] : []));
  return seen.length > 0 && seen.indexOf(seen.at(-1)!) < seen.length - 1;
}

function unwanted(word: string | readonly number[], tokenizer: Tokenizer): (readonly number[])[] {
  if (typeof word !== "string") return [word];
  const inside = encoded("badWords", word, tokenizer);
  return word.startsWith(" ") ? [inside] : [inside, encoded("badWords", ` ${word}`, tokenizer)];
}

function encoded(what: string, text: string, tokenizer: Tokenizer): number[] {
  const ids = tokenizer.encode(text);
  if (ids.length > 0) return ids;
  throw new InputError(`${what}: expected text that gives at least one token, received ${JSON.stringify(text)}`);
}

function allowedIds(
  allowed: GenerationOptions["allowedTokens"],
  tokenizer: Tokenizer,
  eosTokenIds: readonly number[],
): AllowedTokens | undefined {
  if (allowed === "locations") return [...locationIds(tokenizer), ...eosTokenIds];
  if (allowed === undefined || typeof allowed === "function" || isIds(allowed)) return allowed;
  if (typeof allowed === "string") {
    const expected = 'expected ids, a function, "locations" or { choices }';
    throw new InputError(`allowedTokens: ${expected}, received ${described(allowed)}`);
  }
  const { choices: asked = [] } = checkOptions("allowedTokens", allowed, { choices: textOrTexts });
  const given = listed(asked);
  if (given.length === 0) throw new InputError("allowedTokens: expected at least one choice, received none");
  const choices = given.map((choice) => encoded("allowedTokens", choice, tokenizer));
  return (generated) => {
    const begun = choices.filter((ids) => generated.every((id, i) => ids[i] === id));
    return begun.flatMap((ids) => (ids.length === generated.length ? eosTokenIds : [ids[generated.length]]));
  };
}

const isIds = (allowed: object | string): allowed is readonly number[] => Array.isArray(allowed);

function locationIds(tokenizer: Tokenizer): number[] {
  const ids = Array.from({ length: 1024 }, (_, i) => tokenizer.tokenToId(`<loc${String(i).padStart(4, "0")}>`));
  const known = ids.filter((id) => id !== undefined);
  if (known.length === 1024) return known;
  throw new InputError(`allowedTokens: the tokenizer knows ${known.length} of the 1024 <loc> tokens; give ids`);
}
