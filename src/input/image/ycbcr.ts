/** Turns one pixel of YCbCr into `rgb[at]` to `rgb[at + 2]`. */
export type YCbCrToRgb = (y: number, cb: number, cr: number, rgb: Uint8Array, at: number) => void;

const clip = (value: number): number => (value < 0 ? 0 : value > 255 ? 255 : value);

/** JFIF's conversion in Pillow's fixed point of 6 bits. Source: Pillow, src/libImaging/ConvertYCbCr.c. */
export function pillowYCbCr(): YCbCrToRgb {
  const table = (factor: number): Int32Array =>
    Int32Array.from({ length: 256 }, (_, i) => Math.trunc(factor * 64 * (i - 128) + 0.5));
  const [redOfCr, greenOfCb, greenOfCr, blueOfCb] = [1.402, -0.34414, -0.71414, 1.772].map(table) as [
    ...[Int32Array, Int32Array, Int32Array, Int32Array],
  ];
  return (y, cb, cr, rgb, at) => {
    rgb[at] = clip(y + (redOfCr[cr]! >> 6));
    rgb[at + 1] = clip(y + ((greenOfCb[cb]! + greenOfCr[cr]!) >> 6));
    rgb[at + 2] = clip(y + (blueOfCb[cb]! >> 6));
  };
}

/**
 * The conversion by a TIFF's `luma` coefficients and reference levels `blackWhite` (black and white of Y, Cb, Cr), in
 * libtiff's arithmetic: fixed point of 16 bits, coefficients in float32. Source: libtiff 4.7, tif_color.c,
 * `TIFFYCbCrToRGBInit`.
 */
export function libtiffYCbCr(luma: readonly number[], blackWhite: readonly number[]): YCbCrToRgb {
  const f = Math.fround;
  const [lumaRed, lumaGreen, lumaBlue] = luma.map(f) as [number, number, number];
  const fixed = (x: number): number => Math.trunc(Math.min(Math.max(x, 0), 2) * 65536 + 0.5);
  const [f1, f3] = [f(2 - 2 * lumaRed), f(2 - 2 * lumaBlue)];
  const [d1, d2] = [fixed(f1), -fixed(f(f(lumaRed * f1) / lumaGreen))];
  const [d3, d4] = [fixed(f3), -fixed(f(f(lumaBlue * f3) / lumaGreen))];
  const level = (code: number, black: number, white: number, range: number): number => {
    const value = f(f((code - Math.trunc(black)) * range) / f(white - black || 1));
    return Math.trunc(Math.min(Math.max(value, -128 * 32), 128 * 32));
  };
  const table = (of: (i: number) => number): Int32Array => Int32Array.from({ length: 256 }, (_, i) => of(i));
  const [b0, w0, b1, w1, b2, w2] = blackWhite.map(f) as [number, number, number, number, number, number];
  const cr = table((i) => level(i - 128, b2 - 128, w2 - 128, 127));
  const cb = table((i) => level(i - 128, b1 - 128, w1 - 128, 127));
  const grey = table((i) => level(i, b0, w0, 255));
  return (y, u, v, rgb, at) => {
    const [base, blue, red] = [grey[y]!, cb[u]!, cr[v]!];
    rgb[at] = clip(base + ((d1 * red + 32768) >> 16));
    rgb[at + 1] = clip(base + ((d4 * blue + 32768 + d2 * red) >> 16));
    rgb[at + 2] = clip(base + ((d3 * blue + 32768) >> 16));
  };
}
