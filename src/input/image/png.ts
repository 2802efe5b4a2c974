import { latin1 } from "./latin1.js";
import { inflateSync } from "node:zlib";

import { NoRoomError } from "../decoding-room.js";
import { apngScreens, countApngFrames } from "./apng.js";
import type { Decoder } from "./decoder.js";
import { type Metadata, orientationOf } from "./orientation.js";
import { chunksOf, pixelsAlone } from "./png-chunks.js";
import type { RawImage } from "./raw-image.js";
import { decodeWithSharp } from "./sharp-decoder.js";
import { UnsupportedPicture } from "./unsupported.js";

/** PNG by libpng; frame 0 of an animated one is the picture that a viewer without animations shows, as in Pillow. */
export const png: Decoder = {
  frames: async (bytes) => countApngFrames(bytes),
  orientation: (bytes) => orientationOf(metadataOf(bytes)),
  decode: async (bytes, frame) => (frame === 0 ? decodeStill(bytes) : (await decodeApng(bytes, [frame]))[0]!),
  decodeFrames: (bytes, frames) => decodeApng(bytes, frames),
};

async function decodeStill(bytes: Uint8Array): Promise<RawImage> {
  if (latin1(bytes.subarray(12, 16)) === "CgBI") {
    throw new UnsupportedPicture("a PNG in Apple's own form (CgBI) is not read; convert it to an ordinary PNG");
  }
  // 16 bits and grey without alpha: a transparent colour makes libvips add a channel, and then scale.
  const decoded = (file: Uint8Array) => decodeWithSharp(file, { clippedGrey: bytes[24] === 16 && bytes[25] === 0 });
  try {
    return await decoded(bytes);
  } catch (error) {
    const isDamage = !(error instanceof NoRoomError || error instanceof UnsupportedPicture);
    const alone = isDamage ? pixelsAlone(bytes) : null;
    if (alone === null) throw error;
    return await decoded(alone).catch(() => Promise.reject(error));
  }
}

async function decodeApng(bytes: Uint8Array, wanted: readonly number[]): Promise<RawImage[]> {
  const last = Math.max(...wanted);
  const found: RawImage[] = [];
  let at = 0;
  for await (const screen of apngScreens(bytes, await decodeStill(bytes))) {
    if (wanted.includes(at)) found.push({ ...screen, data: screen.data.slice() });
    if (at++ === last) return found;
  }
  throw new Error(`it has ${at} frames`);
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

/** The one method of compression of texts that PNG knows. */
const DEFLATE = 0;

function textOf(kind: "tEXt" | "zTXt" | "iTXt", body: Uint8Array): { key: string; value: Uint8Array } | null {
  const end = body.indexOf(0);
  if (end < 0) return null;
  const key = latin1(body.subarray(0, end));
  if (key !== RAW_EXIF && key !== XMP) return null;
  const rest = body.subarray(end + 1);
  if (kind === "tEXt") return { key, value: rest };
  if (kind === "zTXt") return rest[0] === DEFLATE ? unpacked(key, rest.subarray(1)) : null;
  // Compressed or not, how, language, translated key; each of the last two ends with a zero.
  const language = rest.indexOf(0, 2);
  const text = language < 0 ? -1 : rest.indexOf(0, language + 1);
  if (text < 0) return null;
  const value = rest.subarray(text + 1);
  if (rest[0] === 0) return { key, value };
  return rest[1] === DEFLATE ? unpacked(key, value) : null;
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
