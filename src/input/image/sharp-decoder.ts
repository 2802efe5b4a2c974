import sharp, { type Sharp } from "sharp";

import { inRoom } from "./in-room.js";
import { cmykToRgb, greyToRgb, type RawImage } from "./raw-image.js";

const OPTIONS = { autoOrient: false, ignoreIcc: true, failOn: "error", limitInputPixels: false } as const;

/**
 * Decodes by libvips: alpha dropped, grey and palette expanded, colour profiles ignored, nothing turned. `clippedGrey`:
 * 16-bit grey is clipped to 255, as Pillow does without an alpha channel. Throws as a `Decoder` does.
 */
export async function decodeWithSharp(
  bytes: Uint8Array,
  { page = 0, clippedGrey = false }: { page?: number; clippedGrey?: boolean } = {},
): Promise<RawImage> {
  const options = { ...OPTIONS, page };
  const { width, height, space, depth, channels } = await sharp(bytes, options).metadata();
  const kind = space === "cmyk" ? "cmyk" : depth === "ushort" && (channels === 1 || clippedGrey) ? "grey16" : "srgb";
  return inRoom({ width, height }, () => DECODE[kind](sharp(bytes, options)));
}

const DECODE = {
  // Without the pipeline in CMYK, libvips converts through a press profile of its own.
  cmyk: async (pipeline: Sharp): Promise<RawImage> => {
    const { data, info } = await pixels(pipeline.pipelineColourspace("cmyk").toColourspace("cmyk").raw());
    return cmykToRgb(data, info.channels, info.width, info.height);
  },
  grey16: async (pipeline: Sharp): Promise<RawImage> => {
    const { data, info } = await pixels(pipeline.removeAlpha().toColourspace("grey16").raw({ depth: "ushort" }));
    const grey = new Uint16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
    return greyToRgb(grey, info.width, info.height);
  },
  srgb: async (pipeline: Sharp): Promise<RawImage> => {
    const { data, info } = await pixels(pipeline.removeAlpha().toColourspace("srgb").raw({ depth: "uchar" }));
    return { data: new Uint8Array(data.buffer, data.byteOffset, data.length), width: info.width, height: info.height };
  },
};

/** RGBA of a file, as `decodeWithSharp` decodes it. Throws as that does. */
export async function decodeRgba(bytes: Uint8Array): Promise<Uint8Array> {
  const { data } = await pixels(sharp(bytes, OPTIONS).ensureAlpha().toColourspace("srgb").raw({ depth: "uchar" }));
  return new Uint8Array(data.buffer, data.byteOffset, data.length);
}

const pixels = (pipeline: Sharp) => pipeline.toBuffer({ resolveWithObject: true });

/** Frames or pages as libvips counts them. Throws an `Error` where it cannot read the file. */
export const framesBySharp = async (bytes: Uint8Array): Promise<number> =>
  (await sharp(bytes, OPTIONS).metadata()).pages ?? 1;
