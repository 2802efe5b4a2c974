import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

import type { RawImage } from "./raw-image.js";
import { UnsupportedPicture } from "./unsupported.js";

/** What libavif hands over: RGBA in bytes, or in 16-bit words of `depth` bits. */
type Decoded = { data: Uint8ClampedArray; width: number; height: number; depth: number };

/** An instance of the decoder with a memory of its own; a text is what it says is wrong. */
type Codec = { decode(bytes: Uint8Array): Decoded | string | null };

/**
 * More pixels than this are not tried: the decoder's memory ends at 2 GiB, and one with alpha takes up to 24 bytes a
 * pixel.
 */
const MAX_AVIF_PIXELS = 64_000_000;

/** What has this many pixels may have failed for want of memory: of 10 bits, or made of many tiles. */
const LARGE = 16_000_000;

/** An instance that has held more pixels than this is not kept: its memory never shrinks. */
const MAX_KEPT_PIXELS = 4_000_000;

let kept: Promise<Codec> | undefined;

/**
 * The picture of an AVIF that claims so many pixels, decoded by libavif and converted by libyuv as in Pillow. Throws
 * `UnsupportedPicture` for more than fit, and an `Error` where the file is damaged.
 */
export async function decodeAv1(bytes: Uint8Array, pixels: number): Promise<RawImage> {
  if (pixels > MAX_AVIF_PIXELS) {
    throw new UnsupportedPicture(`an AVIF of more than ${MAX_AVIF_PIXELS} pixels is not read; shrink it first`);
  }
  const codec = await (kept ?? newCodec());
  kept = undefined;
  const decoded = codec.decode(bytes);
  if (decoded === null || typeof decoded === "string") {
    const reason = decoded ?? "it cannot be decoded";
    if (pixels <= LARGE) throw new Error(reason);
    throw new UnsupportedPicture(
      `an AVIF of ${pixels} pixels is damaged or needs more than 2 GiB (${reason}); shrink it first`,
    );
  }
  const image = withoutAlpha(decoded);
  if (image.width * image.height <= MAX_KEPT_PIXELS) kept = Promise.resolve(codec);
  return image;
}

// The package's own loader keeps one instance for ever, and its way to the file needs Node 20.11.
async function newCodec(): Promise<Codec> {
  const path = createRequire(import.meta.url).resolve("icodec/avif-dec.wasm");
  const wasmBinary = await readFile(path);
  const { default: make } = (await import(pathToFileURL(path.replace(/wasm$/, "js")).href)) as { default: CodecMaker };
  // What the program makes its results with; the package sets the same under Node.
  Object.assign(globalThis, { _icodec_ImageData: decodedOf });
  return make({ wasmBinary });
}

type CodecMaker = (options: { wasmBinary: Uint8Array }) => Promise<Codec>;

const decodedOf = (data: Uint8ClampedArray, width: number, height: number, depth: number): Decoded => ({
  data,
  width,
  height,
  depth,
});

/** Colours of more than 8 bits are rounded to 8. */
function withoutAlpha({ data, width, height, depth }: Decoded): RawImage {
  const rgb = new Uint8Array(width * height * 3);
  const values = depth > 8 ? new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2) : data;
  const scale = depth > 8 ? 255 / (2 ** depth - 1) : 1;
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    for (let c = 0; c < 3; c++) rgb[to + c] = depth > 8 ? Math.round(values[from + c]! * scale) : values[from + c]!;
  }
  return { data: rgb, width, height };
}
