import { type FloatDType, fromFloat32, toFloat32 } from "../dtype.js";

/** How a matrix is packed: bitsandbytes' two kinds of 4 bit, or 8 bit with a scale for each row. */
export type PackedForm = "nf4" | "fp4" | "int8";

/** What turns codes into weights. */
export type PackTables =
  /** W[row, i] = (code · absmax[row]) · (1 / 127), each product rounded; codes from -127 to 127. */
  | { kind: "int8"; absmax: Float32Array }
  /** W = rounded(codebook[code] · absmax[block of the flattened matrix]), two codes in a byte, the first in its high half. */
  | { kind: "codes4"; codebook: Float32Array; absmax: Float32Array; blockSize: number; rounding: FloatDType };

const PER_CODE = Math.fround(1 / 127);

/** Bytes of the codes of a matrix of `numbers` weights. */
export const codeBytes = (form: PackedForm, numbers: number): number =>
  form === "int8" ? numbers : Math.ceil(numbers / 2);

/**
 * The weights that codes stand for, in float32: bit for bit those of bitsandbytes. `shape` [rows, ...].
 * Source: bitsandbytes 0.50.2, backends/default/ops.py (_dequantize_4bit_compute, int8_vectorwise_dequant).
 */
export function unpackedMatrix(codes: Uint8Array, tables: PackTables, shape: readonly number[]): Float32Array {
  const numbers = shape.reduce((product, axis) => product * axis, 1);
  const values = new Float32Array(numbers);
  if (tables.kind === "int8") {
    const signed = new Int8Array(codes.buffer, codes.byteOffset, codes.length);
    const width = numbers / shape[0];
    const { fround } = Math;
    for (let i = 0; i < numbers; i++) values[i] = fround(signed[i] * tables.absmax[Math.floor(i / width)]) * PER_CODE;
    return values;
  }
  const { codebook, absmax, blockSize, rounding } = tables;
  for (let i = 0; i < numbers; i++) {
    const byte = codes[i >> 1];
    values[i] = codebook[i % 2 === 0 ? byte >> 4 : byte & 15] * absmax[Math.floor(i / blockSize)];
  }
  return rounding === "F32" ? values : toFloat32(fromFloat32(values, rounding), rounding);
}
