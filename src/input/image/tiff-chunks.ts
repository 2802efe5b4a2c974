import { inflateSync } from "node:zlib";

import { decodeLzw } from "./lzw.js";
import type { TiffLayout } from "./tiff-layout.js";
import { compressionName, unsupportedTiff } from "./tiff-layout.js";

/** Compressions that are undone here: none, LZW, deflate twice, PackBits. */
const NONE = 1;
const LZW = 5;
const DEFLATE = [8, 32946];
const PACKBITS = 32773;

/** Whether the chunks of a page can be unpacked here. */
export const isUnpackable = (compression: number): boolean => [NONE, LZW, ...DEFLATE, PACKBITS].includes(compression);

/**
 * The bytes of one strip or tile, decompressed: `length` of them. Throws `UnsupportedPicture` for another compression
 * or predictor, and an `Error` where there are too few.
 */
export function readChunk(file: Uint8Array, layout: TiffLayout, index: number, length: number): Uint8Array {
  const { offsets, byteCounts, compression, reversedBits } = layout;
  const from = offsets[index];
  if (from === undefined || from >= file.length)
    throw new Error(`strip or tile ${index + 1} lies beyond the end of the file`);
  const size = byteCounts[index] || (compression === NONE ? length : file.length - from);
  let packed = file.subarray(from, from + size);
  if (reversedBits) packed = packed.map((byte) => REVERSED[byte]!);
  const bytes = unpack(packed, layout, length);
  if (bytes.length < length) throw new Error(`strip or tile ${index + 1} has ${bytes.length} of ${length} bytes`);
  return bytes.subarray(0, length);
}

const REVERSED = Uint8Array.from({ length: 256 }, (_, byte) => {
  let reversed = 0;
  for (let bit = 0; bit < 8; bit++) reversed |= ((byte >> bit) & 1) << (7 - bit);
  return reversed;
});

function unpack(packed: Uint8Array, { compression, chunk, samples, bits }: TiffLayout, length: number): Uint8Array {
  if (compression === NONE) return packed;
  if (compression === PACKBITS) return unpackBits(packed, length);
  if (DEFLATE.includes(compression))
    return inflated(packed, Math.max(length, (chunk.width * chunk.height * samples * bits) / 8));
  if (compression !== LZW) throw unsupportedTiff(compressionName(compression));
  const output = new Uint8Array(length);
  return output.subarray(0, decodeLzw(packed, output, { literalBits: 8, lowestFirst: false, early: 1 }));
}

// A last strip may be stored as long as the others; a little more, for what fills a row, is no bomb yet.
function inflated(packed: Uint8Array, most: number): Uint8Array {
  const bytes = inflateSync(packed, { maxOutputLength: Math.ceil(most) + 65_536 });
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Source: TIFF 6.0, section 9. */
function unpackBits(packed: Uint8Array, length: number): Uint8Array {
  const output = new Uint8Array(length);
  let at = 0;
  for (let i = 0; i < packed.length && at < length;) {
    const head = packed[i++]!;
    if (head < 128) {
      const run = packed.subarray(i, i + head + 1).subarray(0, length - at);
      output.set(run, at);
      at += run.length;
      i += head + 1;
    } else if (head > 128) {
      const end = Math.min(length, at + 257 - head);
      output.fill(packed[i++] ?? 0, at, end);
      at = end;
    }
  }
  return output.subarray(0, at);
}
