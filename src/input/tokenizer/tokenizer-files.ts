import { type AddedToken } from "./added-tokens.js";
import { ConfigError } from "../../base/errors.js";
import {
  loadSentencePiece,
  type Piece,
  PieceType,
  readSentencePieceModel,
  withControlPieces,
} from "./sentencepiece.js";

/** The part of a model folder that tokenizers are read from. */
export type TokenizerFolder = {
  readonly name: string;
  has(file: string): Promise<boolean>;
  readBytes(file: string): Promise<Uint8Array>;
  readJson(file: string): Promise<unknown>;
};

/** Text without added tokens, spaces already U+2581, to ids. */
export type Encode = (text: string) => number[];

/** A model's own tokens, and the engine for them. */
export type Vocabulary = {
  kind: "sentencepiece" | "tokenizers";
  ids: Map<string, number>;
  /** Starts the engine; it spells the `spelt` tokens out when it meets them. */
  start(spelt: ReadonlySet<string>): Promise<Encode>;
  /** Added tokens of the model file, taken where no other file lists any. */
  ownAddedTokens(): Promise<AddedToken[]> | AddedToken[];
};

type Json = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Reads `tokenizer.model`, else `tokenizer.json`. Throws `ConfigError`. */
export async function loadVocabulary(folder: TokenizerFolder): Promise<Vocabulary> {
  if (await folder.has("tokenizer.model")) return sentencePieceVocabulary(folder);
  if (await folder.has("tokenizer.json"))
    return tokenizersVocabulary(await readObject(folder, "tokenizer.json"), folder.name);
  const advice = "copy one of them from the checkpoint's repository";
  throw new ConfigError(`${folder.name}: there is neither tokenizer.model nor tokenizer.json; ${advice}`);
}

async function sentencePieceVocabulary(folder: TokenizerFolder): Promise<Vocabulary> {
  const name = `${folder.name}/tokenizer.model`;
  const bytes = await folder.readBytes("tokenizer.model");
  const { pieces, addDummyPrefix, removeExtraWhitespaces } = readSentencePieceModel(bytes, name);
  if (addDummyPrefix || removeExtraWhitespaces) {
    const setting = addDummyPrefix ? "add_dummy_prefix" : "remove_extra_whitespaces";
    throw new ConfigError(
      `${name}: ${setting} is true, where Gemma's tokenizers have false; this is another model's file`,
    );
  }
  const ownAddedTokens = async (): Promise<AddedToken[]> => {
    if (!(await folder.has("tokenizer.json"))) return addedPieces(pieces);
    const { added_tokens: listed } = await readObject(folder, "tokenizer.json");
    return Array.isArray(listed)
      ? listed.flatMap((token) => addedTokenOf(token, undefined) ?? [])
      : addedPieces(pieces);
  };
  const ids = new Map(pieces.map(({ piece }, id) => [piece, id]));
  const start = (spelt: ReadonlySet<string>) => loadSentencePiece(withControlPieces(bytes, pieces, spelt), name);
  return { kind: "sentencepiece", ids, start, ownAddedTokens };
}

/** The pieces that transformers makes added tokens of. Source: convert_slow_tokenizer.py, `SentencePieceExtractor`. */
function addedPieces(pieces: readonly Piece[]): AddedToken[] {
  return pieces.flatMap(({ piece, type }, id) => {
    if (type !== PieceType.control && type !== PieceType.userDefined) return [];
    return [addedToken(piece, id, { special: type === PieceType.control })];
  });
}

function tokenizersVocabulary(json: Json, folder: string): Vocabulary {
  const name = `${folder}/tokenizer.json`;
  const { model } = json;
  if (!isObject(model) || !isObject(model.vocab) || !Array.isArray(model.merges) || model.byte_fallback !== true) {
    throw new ConfigError(
      `${name}: expected a BPE model with vocab, merges and byte_fallback, as Gemma's tokenizers have`,
    );
  }
  for (const [piece, id] of Object.entries(model.vocab)) checkId(name, piece, id);
  const pair = (merge: unknown) =>
    typeof merge === "string" ||
    (Array.isArray(merge) && merge.length === 2 && merge.every((part) => typeof part === "string"));
  if (!model.merges.every(pair)) {
    throw new ConfigError(`${name}: expected merges to be pairs of pieces, found something else; fetch the file again`);
  }
  const listed = Array.isArray(json.added_tokens) ? json.added_tokens : [];
  return {
    kind: "tokenizers",
    ids: new Map(Object.entries(model.vocab as Record<string, number>)),
    start: () => loadTokenizers(json, name),
    ownAddedTokens: () => listed.flatMap((token) => addedTokenOf(token, undefined) ?? []),
  };
}

function checkId(where: string, token: string, id: unknown): asserts id is number {
  if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) > MAX_ID) {
    throw new ConfigError(
      `${where}: ${JSON.stringify(token)} has the id ${JSON.stringify(id)}, expected a whole number in [0, ${MAX_ID}]`,
    );
  }
}

/**
 * Throws for a pattern that is a regular expression: Gemma's are plain text, and some expressions take for ever on some
 * texts.
 */
function refuseExpressions(value: unknown, where: string): void {
  if (typeof value !== "object" || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    if (key === "Regex") {
      const advice = "this is another model's file";
      throw new ConfigError(`${where}: expected patterns of plain text, as Gemma's, received an expression; ${advice}`);
    }
    refuseExpressions(inner, where);
  }
}

async function loadTokenizers(json: Json, name: string): Promise<Encode> {
  for (const part of ["normalizer", "pre_tokenizer", "decoder"]) refuseExpressions(json[part], `${name}: ${part}`);
  const { Tokenizer } = await import("@huggingface/tokenizers");
  try {
    // Added tokens are ours to find, with either engine, and the post-processor would put <bos> before each stretch.
    const engine = new Tokenizer({ ...json, added_tokens: [], post_processor: null }, {});
    return (text) => engine.encode(text, { add_special_tokens: false }).ids;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ConfigError(`${name}: cannot be used (${reason}); fetch the file again`, { cause: error });
  }
}

function addedToken(content: string, id: number, flags: Partial<AddedToken> = {}): AddedToken {
  const plain = { special: false, normalized: false, lstrip: false, rstrip: false, singleWord: false };
  return { ...plain, ...flags, content, id };
}

/** One entry of `added_tokens` (id inside) or of `added_tokens_decoder` (id as its key). */
function addedTokenOf(entry: unknown, key: string | undefined): AddedToken | undefined {
  if (!isObject(entry) || typeof entry.content !== "string") return undefined;
  const id = key === undefined ? entry.id : Number(key);
  // Number("") is 0, and Number("0x10") 16.
  if (key !== undefined && !/^\d+$/.test(key)) return undefined;
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > MAX_ID) return undefined;
  const { special, normalized, lstrip, rstrip, single_word: singleWord } = entry;
  return addedToken(entry.content, id, {
    special: special === true,
    normalized: normalized === true,
    lstrip: lstrip === true,
    rstrip: rstrip === true,
    singleWord: singleWord === true,
  });
}

/** No vocabulary is larger; ids stay exact in every number type on the way. */
const MAX_ID = 2 ** 31 - 1;

/** Location and segment tokens: the processor of transformers adds them to every tokenizer that it is given. */
export const EXTRA_TOKEN = /^<(loc\d{4}|seg\d{3})>$/;

const ROLES = ["bos", "eos", "pad", "unk", "mask", "image"] as const;
type Role = (typeof ROLES)[number];

/**
 * Every added token of a folder by content, and the names of the tokens with a role. Names that no file gives are
 * Gemma's; a null takes a role away. Throws `ConfigError` when a file is not an object.
 */
export async function readTokenizerFiles(
  folder: TokenizerFolder,
  vocabulary: Vocabulary,
): Promise<{ added: Map<string, AddedToken>; names: Partial<Record<Role, string>> }> {
  // Spread, not Object.assign, which would take a field "__proto__" for the object's own prototype.
  const map = await optionalObject(folder, "special_tokens_map.json");
  const config: Json = { ...map, ...(await optionalObject(folder, "tokenizer_config.json")) };
  const decoder = config.added_tokens_decoder;
  const listed = isObject(decoder)
    ? Object.entries(decoder).flatMap(([id, entry]) => addedTokenOf(entry, id) ?? [])
    : await vocabulary.ownAddedTokens();
  const added = new Map(listed.map((token) => [token.content, token]));
  for (const [content, id] of Object.entries(await optionalObject(folder, "added_tokens.json"))) {
    checkId(`${folder.name}/added_tokens.json`, content, id);
    if (!added.has(content)) added.set(content, addedToken(content, id));
  }
  for (const [token, id] of vocabulary.ids) {
    if (EXTRA_TOKEN.test(token) && !added.has(token)) added.set(token, addedToken(token, id, { normalized: true }));
  }
  const names = roleNames(config);
  for (const content of [...Object.values(names), ...moreSpecialTokens(config)]) {
    const id = added.get(content)?.id ?? vocabulary.ids.get(content);
    if (id !== undefined) added.set(content, { ...(added.get(content) ?? addedToken(content, id)), special: true });
  }
  return { added, names };
}

function roleNames(config: Json): Partial<Record<Role, string>> {
  const names: Partial<Record<Role, string>> = {};
  for (const role of ROLES) {
    const key = `${role}_token`;
    const name = Object.hasOwn(config, key) ? contentOf(config[key]) : `<${role}>`;
    if (name !== undefined) names[role] = name;
  }
  return names;
}

function moreSpecialTokens(config: Json): string[] {
  const lists = [config.additional_special_tokens, config.extra_special_tokens];
  const entries = lists.flatMap((list) => (Array.isArray(list) ? list : isObject(list) ? Object.values(list) : []));
  return entries.flatMap((entry) => contentOf(entry) ?? []);
}

/** A token is written as its text, or as an object with `content`. */
function contentOf(entry: unknown): string | undefined {
  if (typeof entry === "string") return entry;
  return isObject(entry) && typeof entry.content === "string" ? entry.content : undefined;
}

async function readObject(folder: TokenizerFolder, file: string): Promise<Json> {
  const value = await folder.readJson(file);
  if (!isObject(value)) throw new ConfigError(`${folder.name}/${file}: expected a JSON object; fetch the file again`);
  return value;
}

async function optionalObject(folder: TokenizerFolder, file: string): Promise<Json> {
  return (await folder.has(file)) ? readObject(folder, file) : {};
}
