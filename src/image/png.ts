import { inflateSync } from "node:zlib";

import type { Decoder } from "./decoder.js";
import { type Metadata, orientationOf } from "./orientation.js";
import { decodeWithSharp } from "./sharp-decoder.js";
import { UnsupportedPicture } from "./unsupported.js";

/** PNG by libpng; of an animated one the picture that a viewer without animations shows, which Pillow too counts as frame 0. */
export const png: Decoder = {
  frames: async (bytes) => framesOf(bytes),
  orientation: (bytes) => orientationOf(metadataOf(bytes)),
  decode: (bytes, frame) => {
    if (frame > 0) {
      const advice = "convert it to GIF or WebP, or give its frames as files";
      throw new UnsupportedPicture(`of an animated PNG only the first frame is read; ${advice}`);
    }
    if (latin1(bytes.subarray(12, 16)) === "CgBI") {
      throw new UnsupportedPicture("a PNG in Apple's own form (CgBI) is not read; convert it to an ordinary PNG");
    }
    // 16 bits and grey without alpha: a transparent colour makes libvips add a channel, and then scale.
    return decodeWithSharp(bytes, { clippedGrey: bytes[24] === 16 && bytes[25] === 0 });
  },
};

/** The chunks of a PNG in order; one that is cut off ends them. */
function* chunksOf(bytes: Uint8Array): Generator<{ kind: string; body: Uint8Array }, void, void> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 8 <= bytes.length;) {
    const length = view.getUint32(at);
    if (at + 12 + length > bytes.length) return;
    yield { kind: latin1(bytes.subarray(at + 4, at + 8)), body: bytes.subarray(at + 8, at + 8 + length) };
    at += 12 + length;
  }
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

// A picture that stands before the first frame control is no frame of the animation, and one more for Pillow.
function framesOf(bytes: Uint8Array): number {
  let controlled = false;
  let count: number | null = null;
  for (const { kind, body } of chunksOf(bytes)) {
    if (kind === "acTL" && body.length >= 8) count = Buffer.from(body).readUInt32BE(0);
    if (kind === "fcTL") controlled = true;
    if (kind === "IDAT") return count === null || count === 0 ? 1 : count + (controlled ? 0 : 1);
  }
  return 1;
}

const RAW_EXIF = "Raw profile type exif";
const XMP = "XML:com.adobe.xmp";

/** EXIF data of their own chunk, or as text that ImageMagick writes; XMP as text. */
function metadataOf(bytes: Uint8Array): Metadata {
  const found: { exif?: Uint8Array; raw?: Uint8Array; xmp?: Uint8Array } = {};
  for (const { kind, body } of chunksOf(bytes)) {
    if (kind === "eXIf") found.exif = body;
    const text = kind === "tEXt" || kind === "zTXt" || kind === "iTXt" ? textOf(kind, body) : null;
    if (text?.key === RAW_EXIF) found.raw = rawProfile(latin1(text.value));
    if (text?.key === XMP) found.xmp = text.value;
  }
  return { exif: found.exif ?? found.raw, xmp: found.xmp };
}

/** A text that unpacks to more than this is not looked at. Source: Pillow, PngImagePlugin.py, `MAX_TEXT_CHUNK`. */
const MAX_TEXT_BYTES = 2 ** 20;

function textOf(kind: "tEXt" | "zTXt" | "iTXt", body: Uint8Array): { key: string; value: Uint8Array } | null {
  const end = body.indexOf(0);
  if (end < 0) return null;
  const key = latin1(body.subarray(0, end));
  if (key !== RAW_EXIF && key !== XMP) return null;
  const rest = body.subarray(end + 1);
  if (kind === "tEXt") return { key, value: rest };
  if (kind === "zTXt") return unpacked(key, rest.subarray(1));
  // Compressed or not, how, language, translated key; each of the last two ends with a zero.
  const language = rest.indexOf(0, 2);
  const text = language < 0 ? -1 : rest.indexOf(0, language + 1);
  if (text < 0) return null;
  const value = rest.subarray(text + 1);
  return rest[0] === 0 ? { key, value } : unpacked(key, value);
}

function unpacked(key: string, packed: Uint8Array): { key: string; value: Uint8Array } | null {
  try {
    return { key, value: inflateSync(packed, { maxOutputLength: MAX_TEXT_BYTES }) };
  } catch {
    return null; // a text that cannot be read says nothing of the pixels
  }
}

/** Hexadecimal digits below three lines: empty, the name, the length. Source: Pillow, Image.py, `getexif`. */
const rawProfile = (text: string): Uint8Array => Buffer.from(text.split("\n").slice(3).join(""), "hex");
