import { setImmediate as nextTurn } from "node:timers/promises";

import { bytesOf, type FloatDType, toFloat32 } from "../dtype.js";
import { midpointsOf, NF4 } from "./codebooks.js";
import { codeBytes, type PackedForm, type PackTables } from "./packed-form.js";

/** Numbers of a block of NF4. */
const BLOCK = 64;
/** Numbers that are widened at once; a multiple of `BLOCK`. */
const CHUNK = 2 ** 20;

/** A matrix as codes with what turns them into weights again. */
export type Packed = { codes: Uint8Array; tables: PackTables };

/**
 * Packs numbers of the type `dtype`, shape [rows, ...]. NF4: code = midpoints of the codebook below x · (1 / absmax) of
 * its block. int8: x · (127 / absmax) of its row, to the nearest, ties to even; the addon, which does not round the
 * product, may take the other neighbour at a tie. Other work gets a turn between pieces. FP4 is read and not made.
 * Source: bitsandbytes 0.50.2, backends/default/ops.py (quantize_4bit, int8_vectorwise_quant).
 */
export async function packMatrix(
  bytes: Uint8Array,
  dtype: FloatDType,
  shape: readonly number[],
  form: Exclude<PackedForm, "fp4">,
): Promise<Packed> {
  const numbers = bytes.length / bytesOf(dtype);
  const width = form === "int8" ? numbers / shape[0] : BLOCK;
  const codes = new Uint8Array(codeBytes(form, numbers));
  const absmax = new Float32Array(Math.ceil(numbers / width));
  const pack = form === "int8" ? packRow : packBlock;
  const step = width * Math.max(1, Math.floor(CHUNK / width));
  for (let at = 0; at < numbers; at += step) {
    const end = Math.min(at + step, numbers);
    const values = toFloat32(bytes.subarray(at * bytesOf(dtype), end * bytesOf(dtype)), dtype);
    for (let i = at; i < end; i += width) {
      absmax[i / width] = pack(values.subarray(i - at, Math.min(i + width, end) - at), codes, i);
    }
    await nextTurn();
  }
  if (form === "int8") return { codes, tables: { kind: "int8", absmax } };
  return { codes, tables: { kind: "codes4", codebook: NF4, absmax, blockSize: BLOCK, rounding: dtype } };
}

/** Packs one row from code `at` on, and returns its scale. */
function packRow(values: Float32Array, codes: Uint8Array, at: number): number {
  const { fround } = Math;
  const scale = largest(values);
  const inverse = scale > 0 ? fround(127 / scale) : 0;
  for (let i = 0; i < values.length; i++) codes[at + i] = toEven(fround(values[i] * inverse));
  return scale;
}

/** Packs one block from code `at` on, which is even, and returns its scale. */
function packBlock(values: Float32Array, codes: Uint8Array, at: number): number {
  const { fround } = Math;
  const scale = largest(values);
  const inverse = scale > 0 ? fround(1 / scale) : 0;
  for (let i = 0; i < values.length; i++) {
    const code = rankOf(fround(values[i] * inverse));
    codes[(at + i) >>> 1] |= i % 2 === 0 ? code << 4 : code;
  }
  return scale;
}

const MIDPOINTS = midpointsOf(NF4);

/** How many midpoints lie below a number: a tie goes to the lower code. */
function rankOf(value: number): number {
  let rank = 0;
  for (let step = 8; step > 0; step >>= 1) if (value > MIDPOINTS[rank + step - 1]) rank += step;
  return rank;
}

/** float32 holds no fractions from here on: adding it rounds to an integer, ties to even. */
const SHIFT = 1.5 * 2 ** 23;
const toEven = (value: number): number => Math.fround(value + SHIFT) - SHIFT;

function largest(values: Float32Array): number {
  let most = 0;
  for (let i = 0; i < values.length; i++) most = Math.max(most, Math.abs(values[i]));
  return most;
}
