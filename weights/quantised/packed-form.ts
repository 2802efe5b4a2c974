import { type FloatDType, roundInPlace } from "../dtype.js";

/** How a matrix is packed: bitsandbytes' two kinds of 4 bit, or 8 bit with a scale for each row. */
export type PackedForm = "nf4" | "fp4" | "int8";

/** What turns codes into weights. */
export type PackTables =
  /** W[row, i] = (code · absmax[row]) · (1 / 127), each product rounded; codes from -127 to 127. */
  | { kind: "int8"; absmax: Float32Array }
  /**
   * W = rounded(codebook[code] · absmax[block of the flattened matrix]), two codes in a byte, the first in its high
   * half.
   */
  | { kind: "codes4"; codebook: Float32Array; absmax: Float32Array; blockSize: number; rounding: FloatDType };

const PER_CODE = Math.fround(1 / 127);

/** Bytes of the codes of a matrix of `numbers` weights. */
export const codeBytes = (form: PackedForm, numbers: number): number =>
  form === "int8" ? numbers : Math.ceil(numbers / 2);

/** Rows of a matrix that codes stand for, which is `width` wide. */
export type RowRange = { width: number; from: number; to: number };

/**
 * The weights of rows `from` to `to` of a packed matrix, in float32 one row after another: bit for bit those of
 * bitsandbytes. Blocks run through the whole matrix, so that a row may begin within one. Source: bitsandbytes 0.50.2,
 * backends/default/ops.py (_dequantize_4bit_compute, int8_vectorwise_dequant).
 */
export function unpackedRows(codes: Uint8Array, tables: PackTables, { width, from, to }: RowRange): Float32Array {
  const [begin, end] = [from * width, to * width];
  const values = new Float32Array(end - begin);
  if (tables.kind === "int8") {
    const signed = new Int8Array(codes.buffer, codes.byteOffset, codes.length);
    const { fround } = Math;
    for (let row = from, i = begin; row < to; row++) {
      const scale = tables.absmax[row];
      for (const stop = i + width; i < stop; i++) values[i - begin] = fround(signed[i] * scale) * PER_CODE;
    }
    return values;
  }
  const { codebook, absmax, blockSize, rounding } = tables;
  const sixteen = new Float32Array(16);
  for (let i = begin; i < end;) {
    const block = Math.floor(i / blockSize);
    for (let code = 0; code < 16; code++) sixteen[code] = codebook[code] * absmax[block];
    roundInPlace(sixteen, rounding);
    const stop = Math.min(end, (block + 1) * blockSize);
    if (i % 2 === 1) {
      values[i - begin] = sixteen[codes[i >>> 1] & 15]; // the second half of a byte
      i++;
    }
    for (; i + 1 < stop; i += 2) {
      const byte = codes[i >>> 1];
      values[i - begin] = sixteen[byte >> 4];
      values[i - begin + 1] = sixteen[byte & 15];
    }
    if (i < stop) {
      values[i - begin] = sixteen[codes[i >>> 1] >> 4];
      i++;
    }
  }
  return values;
}
