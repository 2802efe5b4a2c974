import { latin1 } from "./latin1.js";
import type { Decoder } from "./decoder.js";
import { type Metadata, orientationOf } from "./orientation.js";
import { decodeWithSharp } from "./sharp-decoder.js";
import { UnsupportedPicture } from "./unsupported.js";

/** JPEG by libjpeg; of several pictures in one file the first. */
export const jpeg: Decoder = {
  frames: async () => 1,
  orientation: (bytes) => orientationOf(metadataOf(bytes)),
  decode: (bytes) => {
    requireEightBits(bytes);
    return decodeWithSharp(bytes);
  },
};

const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";
const [APP1, START_OF_SCAN, JPEG_LS] = [0xe1, 0xda, 0xf7];
/** Markers that lie among those of frames and begin none: Huffman tables, extensions, arithmetic conditioning. */
const NO_FRAMES = [0xc4, 0xc8, 0xcc];

/**
 * Frames of the processes that libjpeg reads: baseline, extended and progressive, by Huffman or arithmetic coding; and
 * lossless ones.
 */
const READ_PROCESSES = [0xc0, 0xc1, 0xc2, 0xc9, 0xca];
const LOSSLESS = [0xc3, 0xcb];

/**
 * Whether nothing that counts follows a marker: restarts, start and end of an image, extensions that Pillow does not
 * know.
 */
const stands = (marker: number): boolean =>
  (marker >= 0xd0 && marker <= 0xd9) || (marker >= 0xf0 && marker <= 0xfd && marker !== JPEG_LS) || marker === 0xc8;

/**
 * The segments before the pixels; fill bytes and what else stands between them is passed over.
 * Source: ITU-T T.81, annex B; Pillow 13, JpegImagePlugin.py, `_open`.
 */
function* segmentsOf(bytes: Uint8Array): Generator<{ marker: number; body: Uint8Array }, void, void> {
  for (let at = 2; at + 4 <= bytes.length;) {
    const marker = bytes[at + 1]!;
    if (bytes[at] !== 0xff || marker === 0 || marker === 0xff) {
      at++;
    } else if (marker === START_OF_SCAN) {
      return;
    } else if (stands(marker)) {
      at += 2;
    } else {
      const length = Math.max((bytes[at + 2]! << 8) | bytes[at + 3]!, 2);
      yield { marker, body: bytes.subarray(at + 4, at + 2 + length) };
      at += 2 + length;
    }
  }
}

/** Throws `UnsupportedPicture` for samples of other than 8 bits, and for JPEG-LS. */
function requireEightBits(bytes: Uint8Array): void {
  for (const { marker, body } of segmentsOf(bytes)) {
    const frame = marker >= 0xc0 && marker <= 0xcf && !NO_FRAMES.includes(marker);
    if (frame && !READ_PROCESSES.includes(marker)) {
      const process = LOSSLESS.includes(marker) ? "a lossless JPEG" : "a hierarchical JPEG";
      throw new UnsupportedPicture(`${process} is not read; convert it to PNG or to a baseline JPEG`);
    }
    if (frame && body[0] === 8) return;
    if (!frame && marker !== JPEG_LS) continue;
    const kind = marker === JPEG_LS ? "a JPEG-LS picture" : `a JPEG of ${body[0]} bits a sample`;
    throw new UnsupportedPicture(`${kind} is not read; convert it to PNG or to a JPEG of 8 bits`);
  }
}

/** EXIF data (segments joined, as Pillow does) and XMP. */
function metadataOf(bytes: Uint8Array): Metadata {
  const exif: Uint8Array[] = [];
  let xmp: Uint8Array | undefined;
  for (const { marker, body } of segmentsOf(bytes)) {
    if (marker === APP1 && begins(body, EXIF)) exif.push(body.subarray(exif.length === 0 ? 0 : EXIF.length));
    else if (marker === APP1 && begins(body, XMP)) xmp = body.subarray(XMP.length);
  }
  return { exif: exif.length === 0 ? undefined : Buffer.concat(exif), xmp };
}

const begins = (bytes: Uint8Array, text: string): boolean => latin1(bytes.subarray(0, text.length)) === text;
