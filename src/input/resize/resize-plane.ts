import { BICUBIC, BILINEAR, clipByte, columnsFirst, fixedPoint, HALF, type Kernel, tapsOf } from "./resample.js";

/** One number for each pixel, row by row: `data.length === width * height`. */
export type Plane<Values extends Float32Array | Uint8Array = Uint8Array> = {
  data: Values;
  width: number;
  height: number;
};

/** How sums are formed: of what weights, what they start from, how they are stored. */
type Arithmetic<Values> = {
  weights: (values: Float64Array) => Float64Array | Int32Array;
  start: number;
  stored: (sum: number) => number;
  array: (length: number) => Values;
};

/** Pillow's mode F: sums in double precision, stored as float32 behind each pass and never rounded to whole numbers. */
const FLOATS: Arithmetic<Float32Array> = {
  weights: (values) => values,
  start: 0,
  stored: (sum) => sum,
  array: (length) => new Float32Array(length),
};

/** Pillow's mode L: sums in fixed point, rounded and clipped to bytes behind each pass. */
const BYTES: Arithmetic<Uint8Array> = {
  weights: fixedPoint,
  start: HALF,
  stored: clipByte,
  array: (length) => new Uint8Array(length),
};

/**
 * Squashes a plane of floats, equal to Pillow's `Image.resize` in mode F to the bit. Sizes are positive integers; the
 * data is the given one when nothing changes. Source: Pillow 13, src/libImaging/Resample.c,
 * `ImagingResampleHorizontal_32bpc`.
 */
export const resizeFloats = (
  plane: Plane<Float32Array>,
  width: number,
  height: number,
  filter: "pillow-bicubic" | "pillow-bilinear",
): Plane<Float32Array> => squash(plane, width, height, kernelOf(filter), FLOATS);

/** The same for a grey picture of bytes, equal to Pillow's mode L. */
export const resizeGrey = (
  plane: Plane,
  width: number,
  height: number,
  filter: "pillow-bicubic" | "pillow-bilinear",
): Plane => squash(plane, width, height, kernelOf(filter), BYTES);

const kernelOf = (filter: "pillow-bicubic" | "pillow-bilinear"): Kernel =>
  filter === "pillow-bicubic" ? BICUBIC : BILINEAR;

function squash<Values extends Float32Array | Uint8Array>(
  plane: Plane<Values>,
  width: number,
  height: number,
  kernel: Kernel,
  arithmetic: Arithmetic<Values>,
): Plane<Values> {
  const across = ({ data, width: from, height: rows }: Plane<Values>): Plane<Values> => {
    const lines = { count: rows, apart: from, next: width };
    return { data: pass(data, lines, { from, to: width, apart: 1 }, kernel, arithmetic), width, height: rows };
  };
  const down = ({ data, width: columns, height: from }: Plane<Values>): Plane<Values> => {
    const lines = { count: columns, apart: 1, next: 1 };
    return {
      data: pass(data, lines, { from, to: height, apart: columns }, kernel, arithmetic),
      width: columns,
      height,
    };
  };
  return columnsFirst(plane, width, height) ? across(down(plane)) : down(across(plane));
}

/**
 * One pass along lines of `from` pixels that lie `apart` in the data. `count` lines start `lines.apart` one behind the
 * other, and `lines.next` in what comes out; a pass that changes no size is left out.
 */
function pass<Values extends Float32Array | Uint8Array>(
  input: Values,
  lines: { count: number; apart: number; next: number },
  { from, to, apart }: { from: number; to: number; apart: number },
  kernel: Kernel,
  { weights: weightsOf, start, stored, array }: Arithmetic<Values>,
): Values {
  if (from === to) return input;
  const { first, count, values, taps } = tapsOf(from, to, kernel);
  const weights = weightsOf(values);
  const output = array(lines.count * to);
  for (let i = 0; i < to; i++) {
    const end = i * taps + count[i];
    for (let line = 0; line < lines.count; line++) {
      let sum = start;
      for (let k = i * taps, p = line * lines.apart + first[i] * apart; k < end; k++, p += apart) {
        sum += input[p] * weights[k];
      }
      output[line * lines.next + i * apart] = stored(sum);
    }
  }
  return output;
}
