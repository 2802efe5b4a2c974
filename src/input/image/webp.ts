import { latin1 } from "./latin1.js";
import type { Decoder } from "./decoder.js";
import { type Metadata, orientationOf } from "./orientation.js";
import { decodeWithSharp, framesBySharp } from "./sharp-decoder.js";

/** WebP by libwebp, with the frames of an animation laid over each other. */
export const webp: Decoder = {
  frames: framesBySharp,
  orientation: (bytes) => orientationOf(metadataOf(bytes)),
  decode: (bytes, frame) => decodeWithSharp(bytes, { page: frame }),
};

/** What the flags of an extended file say that it holds. Source: WebP container specification. */
const FLAGS: Readonly<Record<string, number>> = { EXIF: 0x08, "XMP ": 0x04 };

function metadataOf(bytes: Uint8Array): Metadata {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const found: Record<string, Uint8Array> = {};
  let flags = 0;
  const end = Math.min(bytes.length, 8 + view.getUint32(4, true)); // what lies behind it is not of the file
  for (let at = 12; at + 8 <= end;) {
    const kind = latin1(bytes.subarray(at, at + 4));
    const length = view.getUint32(at + 4, true);
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "VP8X") flags = body[0] ?? 0;
    if (flags & (FLAGS[kind] ?? 0)) found[kind] ??= body;
    at += 8 + length + (length % 2);
  }
  return { exif: found["EXIF"], xmp: found["XMP "] };
}
