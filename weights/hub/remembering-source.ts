import { checkRange } from "../bytes.js";
import type { ByteSource } from "../byte-source.js";

/**
 * Bytes that a small read becomes: the header of an archive's member and that of the array in it lie within, and most
 * other headers too.
 */
export const PIECE = 2 ** 15;
/** The longest read that is kept: the end of an archive, behind which its list of members is looked for, is one. */
export const LONGEST = 2 ** 17;
/** Pieces that are kept: more than the largest model has arrays. */
export const KEPT = 256;

/**
 * A source that asks for at least `PIECE` bytes at once and remembers them: headers are many small reads side by side,
 * some of them more than once, and over a network each is waited for. Reads beyond `LONGEST` go through as they are.
 */
export function rememberingSource(source: ByteSource): ByteSource {
  const pieces = new Map<number, Uint8Array>(); // by start, the oldest first
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    checkRange(source.name, source.size, start, end);
    if (end - start > LONGEST) return source.read(start, end);
    for (const [at, bytes] of pieces) {
      if (at <= start && end <= at + bytes.length) return bytes.slice(start - at, end - at);
    }
    const bytes = await source.read(start, Math.max(end, Math.min(start + PIECE, source.size)));
    pieces.delete(start);
    if (pieces.size === KEPT) pieces.delete(pieces.keys().next().value!);
    pieces.set(start, bytes);
    return bytes.slice(0, end - start);
  };
  return { ...source, read };
}
