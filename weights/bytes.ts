import { WeightsError } from "./errors.js";

/**
 * Bytes asked of the system at once: one `fs` call moves at most 2^31 - 1, and a power of two below that keeps pieces
 * aligned.
 */
export const MAX_PIECE = 2 ** 30;

/** One line of text from whatever was thrown. */
export const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Checks that `start..end` is a range inside `size` bytes; throws `WeightsError` naming the file and the range. */
export function checkRange(name: string, size: number, start: number, end: number): void {
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  if (whole && start >= 0 && start <= end && end <= size) return;
  throw new WeightsError(`${name}: bytes ${start}..${end} were asked for, and the file has bytes 0..${size}`);
}

/**
 * Room for `length` bytes; throws `WeightsError` where the machine has none, instead of the engine's bare RangeError.
 */
export function allocate(name: string, length: number): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(length);
  } catch (error) {
    throw new WeightsError(`${name}: no room in memory for ${length} bytes (${reasonOf(error)})`);
  }
}

/**
 * Reads `start..end` into a fresh array, piece by piece; `fill` must fill the piece it is given from `position` or
 * throw. Throws `WeightsError` for a range outside the file and where memory is short.
 */
export async function readInPieces(
  { name, size }: { name: string; size: number },
  [start, end]: [number, number],
  fill: (piece: Uint8Array<ArrayBuffer>, position: number) => Promise<void>,
  pieceSize = MAX_PIECE,
): Promise<Uint8Array<ArrayBuffer>> {
  checkRange(name, size, start, end);
  const bytes = allocate(name, end - start);
  for (let at = 0; at < bytes.length; at += pieceSize) {
    await fill(bytes.subarray(at, Math.min(at + pieceSize, bytes.length)), start + at);
  }
  return bytes;
}

/** The parts one after another in one fresh array; throws `WeightsError` naming `name` where memory is short. */
export function joinBytes(name: string, parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = allocate(
    name,
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
