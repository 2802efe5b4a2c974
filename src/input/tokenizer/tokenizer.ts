import { type AddedToken, AddedTokenSplitter, SPACE_MARK } from "./added-tokens.js";
import { ConfigError, InputError } from "../../base/errors.js";
import { anything, checkOptions, described, flag, oneOf, type OptionKinds } from "../../base/options.js";
import {
  EXTRA_TOKEN,
  type Encode,
  loadVocabulary,
  readTokenizerFiles,
  type TokenizerFolder,
  type Vocabulary,
} from "./tokenizer-files.js";

export type { TokenizerFolder } from "./tokenizer-files.js";

/**
 * What becomes of tokens whose names are typed into a text. "ids": they become their ids, as in transformers. "text":
 * special ones are spelled out like any text, locations and segments become their ids. "plain": those are spelled out
 * too.
 */
export type SpecialTokens = "ids" | "text" | "plain";

/** Every such choice. */
export const SPECIAL_TOKENS: readonly SpecialTokens[] = ["ids", "text", "plain"];

/** What `loadTokenizer` may be told. */
export type TokenizerOptions = {
  /**
   * Tokens and ids that the folder may not list, such as `{ "<image>": 257152 }` from config.json; they are special.
   */
  addedTokens?: Readonly<Record<string, number>> | undefined;
  /** How `encode` treats special tokens in a text unless a call says otherwise. Default "ids". */
  specialTokens?: SpecialTokens | undefined;
};

/** Text to ids and back, as the Hugging Face tokenizer of the same folder. */
export interface Tokenizer {
  /** Which engine tokenises the text between added tokens. */
  readonly kind: "sentencepiece" | "tokenizers";
  /** One more than the largest id. */
  readonly vocabularySize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly imageTokenId: number | undefined;
  /** What `encode` does with special tokens when the call does not say. */
  readonly specialTokens: SpecialTokens;
  /**
   * Ids of a text; nothing is put before or after it. Lone surrogates count as U+FFFD. Throws `InputError` for what is
   * no text.
   */
  encode(text: string, options?: { specialTokens?: SpecialTokens | undefined }): number[];
  /** Text of ids. Ids of no token vanish; bytes that are no UTF-8 become one U+FFFD each, with their whole run. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean | undefined }): string;
  tokenToId(token: string): number | undefined;
  idToToken(id: number): string | undefined;
  /** Whether `decode` leaves the id out under `skipSpecialTokens`. Location and segment tokens are not special. */
  isSpecial(id: number): boolean;
}

/** Turns ids into text one at a time. */
export interface StreamDecoder {
  /** The text that became certain with this id: never half a character; "" while a run of byte tokens lasts. */
  push(id: number): string;
  /** What is still held back; the decoder can then be used afresh. */
  end(): string;
}

/**
 * Reads the tokenizer of a model folder: `tokenizer.model` through sentencepiece, else `tokenizer.json`. Added tokens
 * come from tokenizer_config.json, tokenizer.json, added_tokens.json and special_tokens_map.json, else from the model's
 * own user-defined and control pieces. Throws `ConfigError` when neither file is there or one cannot be used.
 */
export async function loadTokenizer(folder: TokenizerFolder, options: TokenizerOptions = {}): Promise<Tokenizer> {
  const { addedTokens = {}, specialTokens = "ids" } = checkOptions("loadTokenizer", options, LOADING);
  const vocabulary = await loadVocabulary(folder);
  const files = await readTokenizerFiles(folder, vocabulary);
  for (const [content, id] of Object.entries(addedTokens)) addGiven(files.added, vocabulary, content, id, folder.name);
  const spelt = [...files.added.values()].filter(IS_TEXT.plain).map(({ content }) => content);
  const encode = await vocabulary.start(new Set(spelt));
  return new FolderTokenizer(vocabulary, encode, files.added, files.names, specialTokens);
}

function addGiven(added: Map<string, AddedToken>, vocabulary: Vocabulary, content: string, id: number, where: string) {
  const known = added.get(content)?.id ?? vocabulary.ids.get(content);
  if (known !== undefined && known !== id) {
    const advice = "take config.json and the tokenizer files from the same checkpoint";
    throw new ConfigError(
      `${where}: ${content} is id ${known} in the tokenizer files but ${id} in config.json; ${advice}`,
    );
  }
  const plain = { lstrip: false, rstrip: false, singleWord: false, normalized: false };
  added.set(content, { ...(added.get(content) ?? plain), id, content, special: true });
}

/** Which added tokens are left in the text. */
const IS_TEXT: Readonly<Record<SpecialTokens, (token: AddedToken) => boolean>> = {
  ids: () => false,
  text: ({ special }) => special,
  plain: ({ special, content }) => special || EXTRA_TOKEN.test(content),
};

const LOADING: OptionKinds<TokenizerOptions> = { addedTokens: anything, specialTokens: oneOf(...SPECIAL_TOKENS) };
const ENCODING: OptionKinds<Pick<TokenizerOptions, "specialTokens">> = { specialTokens: LOADING.specialTokens };
const DECODING = { skipSpecialTokens: flag };

/** The names of the tokens with a role; undefined where the folder says that there is none. */
type RoleNames = Partial<Record<"bos" | "eos" | "pad" | "unk" | "image", string>>;

class FolderTokenizer implements Tokenizer {
  readonly kind: Tokenizer["kind"];
  readonly vocabularySize: number;
  readonly bosTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly imageTokenId: number | undefined;
  private readonly splitter: AddedTokenSplitter;
  private readonly ids: Map<string, number>;
  private readonly tokens = new Map<number, string>();
  private readonly special = new Set<number>();

  constructor(
    vocabulary: Vocabulary,
    private readonly encodeStretch: Encode,
    added: Map<string, AddedToken>,
    names: RoleNames,
    readonly specialTokens: SpecialTokens,
  ) {
    this.kind = vocabulary.kind;
    this.splitter = new AddedTokenSplitter([...added.values()]);
    this.ids = new Map(vocabulary.ids);
    for (const { content, id } of added.values()) this.ids.set(content, id);
    for (const [token, id] of this.ids) this.tokens.set(id, token);
    // An added token may replace a piece of the same id.
    for (const { content, id, special } of added.values()) {
      this.tokens.set(id, content);
      if (special) this.special.add(id);
    }
    this.vocabularySize = [...this.tokens.keys()].reduce((most, id) => Math.max(most, id), -1) + 1;
    const idOf = (name: string | undefined) => (name === undefined ? undefined : this.ids.get(name));
    this.bosTokenId = idOf(names.bos);
    this.eosTokenId = idOf(names.eos);
    this.padTokenId = idOf(names.pad);
    this.unkTokenId = idOf(names.unk);
    this.imageTokenId = idOf(names.image);
  }

  encode(text: string, options: { specialTokens?: SpecialTokens | undefined } = {}): number[] {
    if (typeof text !== "string") throw new InputError(`text: expected a string, received ${described(text)}`);
    const { specialTokens = this.specialTokens } = checkOptions("encode", options, ENCODING);
    const ids: number[] = [];
    for (const part of this.splitter.split(wellFormed(text), IS_TEXT[specialTokens])) {
      if (typeof part !== "string") ids.push(part.id);
      else for (const id of this.encodeStretch(part)) ids.push(id);
    }
    return ids;
  }

  decode(ids: readonly number[], options: { skipSpecialTokens?: boolean | undefined } = {}): string {
    const { skipSpecialTokens = false } = checkOptions("decode", options, DECODING);
    requireTokenIds(ids);
    const stream = streamOf(this, skipSpecialTokens);
    return Array.from(ids, (id) => stream.push(id)).join("") + stream.end();
  }

  tokenToId(token: string): number | undefined {
    return this.ids.get(token);
  }

  idToToken(id: number): string | undefined {
    return this.tokens.get(id);
  }

  isSpecial(id: number): boolean {
    return this.special.has(id);
  }
}

/** Lone surrogates to U+FFFD, as every way to UTF-8 does. */
function wellFormed(text: string): string {
  return text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

/** The byte that a byte-fallback token stands for, such as `<0x0A>`. */
function byteOf(token: string): number | undefined {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}

/**
 * A run of bytes as text: all of it when it is UTF-8, else one U+FFFD a byte. Source: tokenizers,
 * decoders/byte_fallback.rs.
 */
function textOfBytes(bytes: readonly number[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return "\ufffd".repeat(bytes.length);
  }
}

function streamOf(tokenizer: Pick<Tokenizer, "idToToken" | "isSpecial">, skipSpecialTokens: boolean): StreamDecoder {
  let run: number[] = [];
  const end = (): string => {
    const text = run.length === 0 ? "" : textOfBytes(run);
    run = [];
    return text;
  };
  const push = (id: number): string => {
    const token = tokenizer.idToToken(id);
    if (token === undefined || (skipSpecialTokens && tokenizer.isSpecial(id))) return "";
    const byte = byteOf(token);
    if (byte === undefined) return end() + token.replaceAll(SPACE_MARK, " ");
    run.push(byte);
    return "";
  };
  return { push, end };
}

/**
 * Ids beyond the table decode to nothing, as in tokenizers; text and what is no whole number would do so in silence.
 */
function requireTokenIds(ids: readonly number[]): void {
  const isList = Array.isArray(ids) || (ArrayBuffer.isView(ids) && !(ids instanceof DataView));
  if (!isList) throw new InputError(`decode: expected a list of token ids, received ${described(ids)}`);
  const wrong = ids.findIndex((id) => !Number.isSafeInteger(id) || id < 0);
  if (wrong >= 0) throw new InputError(`decode: expected token ids, received ${described(ids[wrong])} at ${wrong}`);
}

/**
 * Decodes ids as they are generated; all texts joined equal `tokenizer.decode(ids, { skipSpecialTokens: true })`. A run
 * of byte tokens is held back until it ends, because its last byte may still make all of it invalid.
 */
export function createStreamDecoder(
  tokenizer: Tokenizer,
  options: { skipSpecialTokens?: boolean | undefined } = {},
): StreamDecoder {
  const { skipSpecialTokens = true } = checkOptions("createStreamDecoder", options, DECODING);
  return streamOf(tokenizer, skipSpecialTokens);
}
