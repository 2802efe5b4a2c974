import { InputError } from "../../base/errors.js";

/** An encoding of text, by the name that `TextDecoder` gives it. */
export type TextEncoding = "utf-8" | "utf-16le" | "utf-16be";

/** Byte order marks, as U+FEFF is written in each encoding. */
const MARKS: readonly { encoding: TextEncoding; mark: readonly number[] }[] = [
  { encoding: "utf-8", mark: [0xef, 0xbb, 0xbf] },
  { encoding: "utf-16le", mark: [0xff, 0xfe] },
  { encoding: "utf-16be", mark: [0xfe, 0xff] },
];

/** The encoding that the byte order mark of a text names; UTF-8 without one. */
export const encodingOf = (start: Uint8Array): TextEncoding =>
  MARKS.find(({ mark }) => mark.every((byte, i) => start[i] === byte))?.encoding ?? "utf-8";

/**
 * A text file's bytes as text, without its byte order mark: UTF-16 where the mark says so, as Windows PowerShell writes
 * it, else UTF-8. Throws `InputError` that begins with `where` for bytes that are neither.
 */
export function decodeText(bytes: Uint8Array, where: string): string {
  const encoding = encodingOf(bytes);
  let text: string;
  try {
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw notText(where, encoding);
  }
  if (text.includes("\0")) throw notText(where, encoding); // UTF-16 without its mark, or no text at all
  return text;
}

/** The error about bytes that are no text in the encoding that they are read in. */
const notText = (where: string, encoding: TextEncoding): InputError =>
  encoding === "utf-8"
    ? new InputError(
        `${where}: expected UTF-8, or UTF-16 with its byte order mark, received other bytes; convert the file`,
      )
    : new InputError(
        `${where}: expected ${encoding.toUpperCase()}, as its byte order mark says, received other bytes; convert the file`,
      );

type Decoder = InstanceType<typeof TextDecoder>;

/**
 * Blocks of a text file as blocks of UTF-8: as they are, unchecked, unless its byte order mark says that it is UTF-16,
 * which is converted. Throws `InputError` that begins with `where` for UTF-16 that is none.
 */
export async function* inUtf8(blocks: AsyncIterable<Buffer>, where: string): AsyncGenerator<Buffer, void, void> {
  let decoder: Decoder | null = null;
  let start: Buffer | null = Buffer.alloc(0);
  for await (const block of blocks) {
    start = start && Buffer.concat([start, block]);
    if (start !== null && start.length < 2) continue; // half a mark
    const encoding = start === null ? null : encodingOf(start);
    if (encoding !== null && encoding !== "utf-8") decoder = new TextDecoder(encoding, { fatal: true });
    const next = start ?? block;
    start = null;
    yield decoder === null ? next : decoded(decoder, next, where);
  }
  if (start !== null) yield start;
  if (decoder !== null) yield decoded(decoder, null, where);
}

function decoded(decoder: Decoder, block: Buffer | null, where: string): Buffer {
  try {
    return Buffer.from(block === null ? decoder.decode() : decoder.decode(block, { stream: true }));
  } catch {
    throw notText(where, decoder.encoding as TextEncoding);
  }
}
