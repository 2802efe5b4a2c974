import { InputError } from "../../base/errors.js";
import type { Tokenizer } from "./tokenizer.js";

/** Characters that are tokenised at once to judge a long text, about a quarter of a second of work. */
const PIECE = 2 ** 15;

/** Characters of a text that errors show. */
const SHOWN = 40;

/**
 * The tokenizer for a model of `positions` positions: `encode` also throws `InputError` for a text that cannot fit,
 * before it is tokenised whole. Such a text has more characters than so many of the longest tokens, or its beginning
 * has twice as many tokens as there are positions, so that a piece may be cut where a token would not end.
 */
export function boundedTokenizer(tokenizer: Tokenizer, positions: number): Tokenizer {
  let known: number | undefined; // a quarter of a million tokens are looked at only for a long text
  const encode: Tokenizer["encode"] = (text, options) => {
    if (typeof text === "string" && text.length > PIECE) requireFits(text, options);
    return tokenizer.encode(text, options);
  };
  const requireFits = (text: string, options: Parameters<Tokenizer["encode"]>[1]): void => {
    const longest = (known ??= longestToken(tokenizer));
    const most = positions * longest;
    if (text.length > most) {
      throw tooLong(text, `at most ${most} characters (${positions} positions, tokens of at most ${longest})`);
    }
    let tokens = 0;
    for (let at = 0; at < text.length; at += PIECE) {
      tokens += tokenizer.encode(text.slice(at, at + PIECE), options).length;
      if (tokens > 2 * positions) throw tooLong(text, `what fits into the ${positions} positions of the model`);
    }
  };
  return Object.create(tokenizer, { encode: { value: encode } }) as Tokenizer;
}

function longestToken(tokenizer: Tokenizer): number {
  let longest = 1;
  for (let id = 0; id < tokenizer.vocabularySize; id++) {
    longest = Math.max(longest, tokenizer.idToToken(id)?.length ?? 0);
  }
  return longest;
}

const tooLong = (text: string, expected: string): InputError => {
  const shown = JSON.stringify(`${text.slice(0, SHOWN)}...`);
  return new InputError(`text: expected ${expected}, received ${text.length} characters (${shown}); shorten it`);
};
