import type { Decoder } from "./decoder.js";
import { type Metadata, orientationOf } from "./orientation.js";
import { decodeWithSharp } from "./sharp-decoder.js";

/** JPEG by libjpeg; of several pictures in one file the first. */
export const jpeg: Decoder = {
  frames: async () => 1,
  orientation: (bytes) => orientationOf(metadataOf(bytes)),
  decode: (bytes) => decodeWithSharp(bytes),
};

const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const [APP1, START_OF_SCAN, END_OF_IMAGE] = [0xe1, 0xda, 0xd9];

/** EXIF data (segments joined, as Pillow does) and XMP of the segments before the pixels. */
function metadataOf(bytes: Uint8Array): Metadata {
  const exif: Uint8Array[] = [];
  let xmp: Uint8Array | undefined;
  for (let at = 2; at + 4 <= bytes.length;) {
    if (bytes[at] !== 0xff) break;
    const marker = bytes[at + 1]!;
    if (marker === 0xff) {
      at++; // fill bytes may stand before a marker
      continue;
    }
    if (marker === START_OF_SCAN || marker === END_OF_IMAGE) break;
    const length = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    const body = bytes.subarray(at + 4, at + 2 + length);
    if (marker === APP1 && begins(body, EXIF)) exif.push(body.subarray(exif.length === 0 ? 0 : EXIF.length));
    else if (marker === APP1 && begins(body, XMP)) xmp = body.subarray(XMP.length);
    at += 2 + Math.max(length, 2);
  }
  return { exif: exif.length === 0 ? undefined : Buffer.concat(exif), xmp };
}

const begins = (bytes: Uint8Array, text: string): boolean =>
  Buffer.from(bytes.subarray(0, text.length)).toString("latin1") === text;
