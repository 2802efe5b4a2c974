import { crc32 } from "../../../weights/crc32.js";
import { latin1 } from "./latin1.js";

/** One chunk of a PNG: its four letters, and its body. */
export type PngChunk = { kind: string; body: Uint8Array };

/** Chunks of a file, each with whether its check sum is right. */
type ReadChunk = PngChunk & { isRight(): boolean };

/** The chunks of a PNG in order; one that is cut off ends them. */
export function* chunksOf(bytes: Uint8Array): Generator<ReadChunk, void, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) return;
    const [start, end] = [at + 4, at + 8 + length];
    yield {
      kind: latin1(bytes.subarray(start, start + 4)),
      body: bytes.subarray(start + 4, end),
      isRight: () => crc32(bytes.subarray(start, end)) === view.getUint32(end),
    };
    at += 12 + length;
  }
}

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** A PNG of these chunks, with their check sums. */
export const pngOfChunks = (chunks: readonly PngChunk[]): Uint8Array =>
  Buffer.concat([SIGNATURE, ...chunks.map(written)]);

function written({ kind, body }: PngChunk): Buffer {
  const [head, tail] = [Buffer.alloc(8), Buffer.alloc(4)];
  head.writeUInt32BE(body.length);
  head.write(kind, 4, "latin1");
  tail.writeUInt32BE(crc32(body, crc32(head.subarray(4))));
  return Buffer.concat([head, body, tail]);
}

/** Chunks that pixels are made of, and those of them whose check sums Pillow looks at. */
const CHECKED = ["IHDR", "PLTE", "tRNS"];
const NEEDED = [...CHECKED, "IDAT", "IEND"];

/**
 * The same picture with nothing but what its pixels need, and with the check sums of its data made anew: Pillow looks
 * neither at these nor at chunks that it does not know. Null where another check sum is wrong, which Pillow refuses.
 * Source: Pillow 13, PngImagePlugin.py, `ChunkStream`.
 */
export function pixelsAlone(bytes: Uint8Array): Uint8Array | null {
  const needed = [...chunksOf(bytes)].filter(({ kind }) => NEEDED.includes(kind));
  if (needed.some((chunk) => CHECKED.includes(chunk.kind) && !chunk.isRight())) return null;
  return pngOfChunks(needed);
}
