import { bytesOf, fromFloat32, type FloatDType, toFloat32 } from "./dtype.js";
import { WeightsError } from "./errors.js";

/**
 * Bytes of floats in another type, rounded to the nearest, ties to even; `bytes` must hold whole values. Throws
 * `WeightsError` naming `where` for a finite value that float16 has no number for: it would become infinite.
 */
export function cast(bytes: Uint8Array, from: FloatDType, to: FloatDType, where: string): Uint8Array {
  if (from === to) return bytes;
  const wide = toFloat32(bytes, from);
  const narrow = fromFloat32(wide, to);
  if (to === "F16" && from !== "F16") requireFinite(wide, narrow, where);
  return narrow;
}

function requireFinite(wide: Float32Array, narrow: Uint8Array, where: string): void {
  for (let i = 0; i < wide.length; i++) {
    const infinite = (narrow[2 * i + 1] & 0x7f) === 0x7c && narrow[2 * i] === 0;
    if (infinite && Number.isFinite(wide[i])) {
      throw new WeightsError(`${where} has the value ${wide[i]}, beyond float16's 65504; choose bfloat16 or float32`);
    }
  }
}

/** Pieces of a tensor cast one by one; each must hold whole values. */
export async function* castPieces(
  pieces: AsyncIterable<Uint8Array>,
  [from, to]: readonly [from: FloatDType, to: FloatDType],
  where: string,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    if (piece.length % bytesOf(from) !== 0)
      throw new WeightsError(`${where}: a piece of ${piece.length} bytes cuts a value`);
    yield cast(piece, from, to, where);
  }
}
