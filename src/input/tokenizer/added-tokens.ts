/** A token matched in the text before the model runs. Fields as in tokenizer.json. */
export type AddedToken = {
  id: number;
  content: string;
  /** Left out by `decode` with `skipSpecialTokens`, and text rather than a token unless `specialTokens` is "ids". */
  special: boolean;
  /** Matched in the normalised text (U+2581 for spaces), after those that are not. */
  normalized: boolean;
  /** Whether whitespace before or after the token is swallowed, and whether it must stand as a word of its own. */
  lstrip: boolean;
  rstrip: boolean;
  singleWord: boolean;
};

/** What stands for a space in the vocabulary. */
export const SPACE_MARK = "\u2581";

/** Text as the model sees it. Source: transformers, models/gemma/tokenization_gemma.py, `normalizers.Replace`. */
export const normalise = (text: string): string => text.replaceAll(" ", SPACE_MARK);

/** Tokens by content, with the lengths that begin with a given character, longest first. */
type Index = { tokens: Map<string, AddedToken>; lengths: Map<string, number[]> };

function indexOf(tokens: readonly AddedToken[], spell: (content: string) => string): Index {
  const index: Index = { tokens: new Map(), lengths: new Map() };
  for (const token of tokens) {
    const content = spell(token.content);
    if (content === "") continue;
    index.tokens.set(content, token);
    const lengths = index.lengths.get(content[0]) ?? [];
    if (!lengths.includes(content.length)) lengths.push(content.length);
    index.lengths.set(content[0], lengths);
  }
  for (const lengths of index.lengths.values()) lengths.sort((a, b) => b - a);
  return index;
}

/** The longest token that begins at `at`, if any. */
function tokenAt({ tokens, lengths }: Index, text: string, at: number): { token: AddedToken; end: number } | undefined {
  for (const length of lengths.get(text[at]) ?? []) {
    const token = tokens.get(text.slice(at, at + length));
    if (token) return { token, end: at + length };
  }
  return undefined;
}

const endsInWord = (text: string): boolean => /[\p{L}\p{M}\p{N}_]$/u.test(text);
const beginsWithWord = (text: string): boolean => /^[\p{L}\p{M}\p{N}_]/u.test(text);

/** Cuts `text` at the tokens of an index: the leftmost first, the longest of those. */
function* cut(index: Index, text: string, isText: (token: AddedToken) => boolean): Generator<string | AddedToken> {
  let pending = 0;
  for (let at = 0; at < text.length;) {
    const match = tokenAt(index, text, at);
    if (!match) {
      at++;
      continue;
    }
    const { token, end } = match;
    const before = text.slice(pending, at);
    const inWord = token.singleWord && (endsInWord(text.slice(0, at)) || beginsWithWord(text.slice(end)));
    at = end;
    if (inWord || isText(token)) continue;
    const kept = token.lstrip ? before.trimEnd() : before;
    if (kept !== "") yield kept;
    yield token;
    if (token.rstrip) at += text.length - at - text.slice(at).trimStart().length;
    pending = at;
  }
  if (pending < text.length) yield text.slice(pending);
}

/**
 * Finds added tokens in a text as the `tokenizers` library does: those that are not normalised in the text as typed,
 * then the others in the normalised stretches between. Source: tokenizers, src/tokenizer/added_vocabulary.rs.
 */
export class AddedTokenSplitter {
  private readonly raw: Index;
  private readonly normalised: Index;

  constructor(tokens: readonly AddedToken[]) {
    this.raw = indexOf(
      tokens.filter((token) => !token.normalized),
      (content) => content,
    );
    this.normalised = indexOf(
      tokens.filter((token) => token.normalized),
      normalise,
    );
  }

  /**
   * Stretches of normalised text, never empty, and the tokens between them, without those that `isText` leaves in the
   * text.
   */
  *split(text: string, isText: (token: AddedToken) => boolean): Generator<string | AddedToken> {
    for (const part of cut(this.raw, text, isText)) {
      if (typeof part === "string") yield* cut(this.normalised, normalise(part), isText);
      else yield part;
    }
  }
}
