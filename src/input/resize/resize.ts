import type { RawImage } from "../image/decode.js";
import { BICUBIC, BILINEAR, clipByte, columnsFirst, fixedPoint, HALF, type Kernel, tapsOf } from "./resample.js";

/** Filters of Pillow's resize that the processor may ask for. */
export type ResizeFilter = "pillow-bicubic" | "pillow-bilinear";

const CHANNELS = 3;

/** The horizontal pass over `rows` rows of `from` pixels. The sums fit a signed 32-bit integer. */
function passRows(input: Uint8Array, rows: number, from: number, to: number, kernel: Kernel): Uint8Array {
  const { first, count, values, taps } = tapsOf(from, to, kernel);
  const weights = fixedPoint(values);
  const output = new Uint8Array(rows * to * CHANNELS);
  for (let row = 0, at = 0; row < rows; row++) {
    for (let i = 0; i < to; i++, at += CHANNELS) {
      let red = HALF;
      let green = red;
      let blue = red;
      const end = i * taps + count[i];
      for (let k = i * taps, p = (row * from + first[i]) * CHANNELS; k < end; k++, p += CHANNELS) {
        const weight = weights[k];
        red += input[p] * weight;
        green += input[p + 1] * weight;
        blue += input[p + 2] * weight;
      }
      output[at] = clipByte(red);
      output[at + 1] = clipByte(green);
      output[at + 2] = clipByte(blue);
    }
  }
  return output;
}

/** The vertical pass: a whole row of bytes at a time, so that memory is read in order. */
function passColumns(input: Uint8Array, from: number, to: number, rowBytes: number, kernel: Kernel): Uint8Array {
  const { first, count, values, taps } = tapsOf(from, to, kernel);
  const weights = fixedPoint(values);
  const output = new Uint8Array(to * rowBytes);
  const sums = new Int32Array(rowBytes);
  for (let i = 0; i < to; i++) {
    sums.fill(HALF);
    for (let k = 0; k < count[i]; k++) {
      const weight = weights[i * taps + k];
      for (let b = 0, p = (first[i] + k) * rowBytes; b < rowBytes; b++, p++) sums[b] += input[p] * weight;
    }
    for (let b = 0, at = i * rowBytes; b < rowBytes; b++, at++) output[at] = clipByte(sums[b]);
  }
  return output;
}

/**
 * Squashes a picture to `width` x `height`, equal to Pillow's `Image.resize` to the byte: two passes, each rounded to
 * bytes, and a pass whose size does not change left out. Returns a new picture; its data is the given one when nothing
 * changes. Sizes are positive integers. Source: Pillow 13, src/libImaging/Resample.c.
 */
export function resize(image: RawImage, width: number, height: number, filter: ResizeFilter): RawImage {
  const kernel = filter === "pillow-bicubic" ? BICUBIC : BILINEAR;
  const acrossRows = ({ data, width: from, height: rows }: RawImage): RawImage =>
    from === width
      ? { data, width, height: rows }
      : { data: passRows(data, rows, from, width, kernel), width, height: rows };
  const downColumns = ({ data, width: columns, height: from }: RawImage): RawImage =>
    from === height
      ? { data, width: columns, height }
      : { data: passColumns(data, from, height, columns * CHANNELS, kernel), width: columns, height };
  return columnsFirst(image, width, height) ? acrossRows(downColumns(image)) : downColumns(acrossRows(image));
}
