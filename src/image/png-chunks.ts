import { latin1 } from "./latin1.js";
/** One chunk of a PNG: its four letters, and its body. */
export type PngChunk = { kind: string; body: Uint8Array };

/** The chunks of a PNG in order; one that is cut off ends them. */
export function* chunksOf(bytes: Uint8Array): Generator<PngChunk, void, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) return;
    yield { kind: latin1(bytes.subarray(at + 4, at + 8)), body: bytes.subarray(at + 8, at + 8 + length) };
    at += 12 + length;
  }
}
