import sharp, { type Sharp } from "sharp";

import { InputError } from "../base/errors.js";
import type { RawImage } from "../input/image/decode.js";

/** A drawing larger than this on either side is not rasterised: libvips' own limit for PNG lies at twice as much. */
export const MAX_PNG_SIDE = 16_384;

/**
 * An SVG drawn as PNG, `scale` pixels for each unit. Letters need a font on the machine; without any, boxes are drawn.
 * Throws `InputError` for a scale that is not positive, and for text that is no SVG or is larger than `MAX_PNG_SIDE`.
 */
export async function toPng(svg: string, scale = 1): Promise<Uint8Array> {
  if (!(scale > 0 && scale <= 8)) throw new InputError(`toPng: the scale must be above 0 and at most 8, got ${scale}`);
  const bytes = Buffer.from(svg);
  // `unlimited`: libxml otherwise refuses attributes above 10 MB, which an embedded picture may be.
  const options = { density: 72 * scale, unlimited: true };
  try {
    const { width, height } = await sharp(bytes, options).metadata();
    if (Math.max(width, height) > MAX_PNG_SIDE) {
      const limit = `at most ${MAX_PNG_SIDE} a side are drawn`;
      throw new InputError(`toPng: the drawing is ${width} x ${height} pixels, ${limit}; choose a smaller scale`);
    }
    return await sharp(bytes, options).png().toBuffer();
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message.trim().split("\n")[0] : String(error);
    throw new InputError(`toPng: not an SVG that can be drawn (${reason})`, { cause: error });
  }
}

type Pixels = { data: Uint8Array; width: number; height: number };

/** RGB as the bytes of a PNG file: how a picture comes into a drawing or a report. */
export const encodePng = (image: RawImage): Promise<Uint8Array> => encodeRaw(image, 3).png().toBuffer();

/** One byte for each pixel as the bytes of a grey PNG file: a mask, or a map of labels. */
export const encodeGreyPng = (plane: Pixels): Promise<Uint8Array> =>
  encodeRaw(plane, 1).toColourspace("b-w").png().toBuffer();

/** Red, green, blue and opacity for each pixel as the bytes of a PNG file. */
export const encodeRgbaPng = (pixels: Pixels): Promise<Uint8Array> => encodeRaw(pixels, 4).png().toBuffer();

const encodeRaw = ({ data, width, height }: Pixels, channels: 1 | 3 | 4): Sharp =>
  sharp(data, { raw: { width, height, channels } });
