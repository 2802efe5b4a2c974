import { kindOfStart } from "../../../weights/foreign-file.js";
import { ConfigError } from "../../base/errors.js";

/** What a piece is for. Source: sentencepiece_model.proto, `SentencePiece.Type`. */
export const PieceType = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/**
 * One entry of a sentencepiece vocabulary; its place in the list is its id. `typeAt`: where the file says the type, or
 * -1.
 */
export type Piece = { piece: string; type: number; typeAt: number };

/** What is read of a `tokenizer.model` beside the engine's own reading of it. */
export type SentencePieceModel = { pieces: Piece[]; addDummyPrefix: boolean; removeExtraWhitespaces: boolean };

type Field = { field: number; wire: number; value: number; bytes: Uint8Array; at: number };

const NO_BYTES = new Uint8Array(0);

/** A base-128 number and where the next byte is. Throws `RangeError` past the end. */
function varint(bytes: Uint8Array, at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7, at++) {
    if (at >= bytes.length) throw new RangeError("a number is cut off");
    value += (bytes[at] & 0x7f) * 2 ** shift;
    if (bytes[at] < 0x80) return [value, at + 1];
  }
  throw new RangeError("a number has more than ten bytes");
}

/** The fields of one protocol-buffer message in file order. Throws `RangeError` when it lies about a length. */
function* fieldsOf(bytes: Uint8Array): Generator<Field> {
  for (let at = 0; at < bytes.length;) {
    const [key, start] = varint(bytes, at);
    const [field, wire] = [Math.floor(key / 8), key % 8];
    let value = 0;
    let length = wire === 1 ? 8 : 4;
    let from = start;
    if (wire === 0) [value, from] = varint(bytes, start);
    else if (wire === 2) [length, from] = varint(bytes, start);
    else if (wire !== 1 && wire !== 5) throw new RangeError(`field ${field} has the unknown wire type ${wire}`);
    at = wire === 0 ? from : from + length;
    if (at > bytes.length) throw new RangeError(`field ${field} reaches past the end`);
    yield { field, wire, value, bytes: wire === 0 ? NO_BYTES : bytes.subarray(from, at), at: start };
  }
}

function readPiece(bytes: Uint8Array, offset: number): Piece {
  const piece: Piece = { piece: "", type: PieceType.normal, typeAt: -1 };
  for (const { field, value, bytes: content, at } of fieldsOf(bytes)) {
    // A piece may be a byte-order mark, which a decoder would swallow unless told.
    if (field === 1) piece.piece = new TextDecoder("utf-8", { ignoreBOM: true }).decode(content);
    if (field === 3) Object.assign(piece, { type: value, typeAt: offset + at });
  }
  return piece;
}

/**
 * The pieces of a `tokenizer.model` and what its normaliser does; everything else in the file is the engine's business.
 * Throws `ConfigError` beginning with `name` when the bytes are no sentencepiece model.
 * Source: sentencepiece_model.proto, `ModelProto` (1 pieces, 3 normalizer_spec with 3 add_dummy_prefix and
 * 4 remove_extra_whitespaces, both true when absent).
 */
export function readSentencePieceModel(bytes: Uint8Array, name: string): SentencePieceModel {
  const model: SentencePieceModel = { pieces: [], addDummyPrefix: true, removeExtraWhitespaces: true };
  try {
    for (const { field, wire, bytes: content } of fieldsOf(bytes)) {
      if (field === 1 && wire === 2) model.pieces.push(readPiece(content, content.byteOffset - bytes.byteOffset));
      if (field !== 3 || wire !== 2) continue;
      for (const setting of fieldsOf(content)) {
        if (setting.field === 3) model.addDummyPrefix = setting.value !== 0;
        if (setting.field === 4) model.removeExtraWhitespaces = setting.value !== 0;
      }
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const kind = kindOfStart(bytes);
    throw new ConfigError(
      kind === null
        ? `${name}: not a sentencepiece model, or damaged (${error.message}); fetch the file again`
        : `${name}: expected a sentencepiece model, found ${kind}`,
    );
  }
  if (model.pieces.length === 0) throw new ConfigError(`${name}: holds no pieces; expected a sentencepiece model`);
  return model;
}

/**
 * The model with some user-defined pieces made control pieces, which the library never finds in a text: special tokens
 * that are to be text must be spelled out, and those that are to be ids are taken out before the library sees the text.
 */
export function withControlPieces(
  bytes: Uint8Array,
  pieces: readonly Piece[],
  control: ReadonlySet<string>,
): Uint8Array {
  const changed = bytes.slice();
  for (const { piece, type, typeAt } of pieces) {
    if (type === PieceType.userDefined && control.has(piece)) changed[typeAt] = PieceType.control;
  }
  return changed;
}

/**
 * Text to ids by the sentencepiece library itself, compiled to WebAssembly; nothing is put before or after the text.
 * Throws `ConfigError` when the library does not take the model.
 */
export async function loadSentencePiece(bytes: Uint8Array, name: string): Promise<(text: string) => number[]> {
  // Imported when needed: the package is 4 MB of text, and folders with a tokenizer.json alone do without it.
  const { SentencePieceProcessor } = await import("@sctg/sentencepiece-js");
  const engine = new SentencePieceProcessor();
  await engine.loadFromB64StringModel(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64"));
  // The package drops the status of loading; a processor that did not load answers everything with nothing.
  if (engine.encodeIds("a").length === 0) {
    throw new ConfigError(`${name}: the sentencepiece library does not accept this model; fetch the file again`);
  }
  return (text) => (text === "" ? [] : engine.encodeIds(text));
}
