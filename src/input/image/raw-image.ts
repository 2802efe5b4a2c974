import { UnsupportedPicture } from "./unsupported.js";

/** A picture as decoders hand it over: RGB interleaved row by row, `data.length === width * height * 3`. */
export type RawImage = { data: Uint8Array; width: number; height: number };

/** More pixels than this are taken for a decompression bomb. Source: Pillow, 2 x `MAX_IMAGE_PIXELS`, its own limit. */
export const MAX_IMAGE_PIXELS = 178_956_970;

/**
 * Checks the size that a file claims, before memory is taken for it. Throws `UnsupportedPicture` beyond
 * `MAX_IMAGE_PIXELS`.
 */
export function requireDecodable(width: number, height: number): void {
  if (width < 1 || height < 1) throw new Error(`it claims ${width} x ${height} pixels`);
  if (width * height <= MAX_IMAGE_PIXELS) return;
  const limit = `more than the ${MAX_IMAGE_PIXELS} pixels that are decoded`;
  throw new UnsupportedPicture(`the image claims ${width} x ${height} pixels, ${limit}; shrink it first`);
}

/** Grey values of any range, clipped to bytes and cut to whole numbers as Pillow does, three times each. */
export function greyToRgb(grey: ArrayLike<number>, width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let i = 0, at = 0; i < width * height; i++, at += 3) {
    const value = grey[i]!;
    data[at] = data[at + 1] = data[at + 2] = value > 255 ? 255 : value > 0 ? value : 0;
  }
  return { data, width, height };
}

/**
 * red = clip(nk - c · nk / 255) with nk = 255 - k, and the same for green and blue; `samples` holds `channels` bytes a
 * pixel. Source: Pillow, src/libImaging/Convert.c, `cmyk2rgb`, with its rounding of the division.
 */
export function cmykToRgb(samples: ArrayLike<number>, channels: number, width: number, height: number): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += channels, to += 3) {
    const light = 255 - samples[from + 3]!;
    for (let c = 0; c < 3; c++) {
      const product = samples[from + c]! * light + 128;
      data[to + c] = light - (((product >> 8) + product) >> 8);
    }
  }
  return { data, width, height };
}
