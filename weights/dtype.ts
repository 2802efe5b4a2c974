import { WeightsError } from "./errors.js";

/**
 * Bytes of one value of each tensor type. The 8-bit floats are named so that a file with them can be listed; their
 * values are not read. Source: safetensors `tensor.rs`, `enum Dtype` (0.8); its types of less than a byte and C64 are
 * not known here.
 */
const BYTES = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U64: 8,
  U32: 4,
  U16: 2,
  U8: 1,
  BOOL: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  F8_E8M0: 1,
  F8_E4M3FNUZ: 1,
  F8_E5M2FNUZ: 1,
} as const;

/** A tensor type of safetensors, by its name in the file. */
export type DType = keyof typeof BYTES;
/** The float types whose values are read and written. */
export type FloatDType = "F32" | "F16" | "BF16";

/** Every known tensor type. */
export const DTYPES = Object.keys(BYTES) as DType[];
/** Whether a value names a known tensor type. */
export const isDType = (value: unknown): value is DType => typeof value === "string" && Object.hasOwn(BYTES, value);
/** Whether `toFloat32` reads a type. */
export const isFloat = (dtype: DType): dtype is FloatDType => dtype === "F32" || dtype === "F16" || dtype === "BF16";
/** Bytes of one value. */
export const bytesOf = (dtype: DType): number => BYTES[dtype];

/**
 * Widens F32, F16 or BF16 to f32 without changing a value, NaN payloads included; the result is a fresh array.
 * `bytes` may start at any offset and must hold whole values, little-endian as the machine is.
 * Throws `WeightsError` for F64 (narrowing would not be exact), 8-bit floats and integers.
 */
export function toFloat32(bytes: Uint8Array, dtype: DType): Float32Array<ArrayBuffer> {
  if (!isFloat(dtype)) throw new WeightsError(refusal(dtype, "floats"));
  if (dtype === "F32") return new Float32Array(freshBuffer(bytes, 4));
  const narrow = new Uint16Array(alignedBuffer(bytes, 2), alignedOffset(bytes, 2), countOf(bytes, 2));
  const wide = new Uint32Array(narrow.length);
  if (dtype === "BF16") {
    for (let i = 0; i < narrow.length; i++) wide[i] = narrow[i] << 16; // bf16 is the upper half of f32
  } else {
    const table = halfTable();
    for (let i = 0; i < narrow.length; i++) wide[i] = table[narrow[i]];
  }
  return new Float32Array(wide.buffer);
}

/**
 * Reads an integer or BOOL tensor as int32; `bytes` as in `toFloat32`.
 * Throws `WeightsError` for a value outside int32 (with its index), a BOOL other than 0 and 1, and float types.
 */
export function toInt32(bytes: Uint8Array, dtype: DType): Int32Array<ArrayBuffer> {
  if (dtype.startsWith("F") || dtype === "BF16") throw new WeightsError(refusal(dtype, "integers"));
  const size = bytesOf(dtype);
  const fresh = freshBuffer(bytes, size);
  const out = new Int32Array(fresh.byteLength / size);
  const outside = (i: number) => new WeightsError(`value ${i} of a ${dtype} tensor is outside the range of int32`);
  if (size === 8) {
    // Words, low first: within int32 the high word only repeats the sign (I64) or is 0 (U64). Far faster than BigInt.
    const words = new Int32Array(fresh);
    for (let i = 0; i < out.length; i++) {
      const low = words[2 * i];
      const high = dtype === "I64" ? low >> 31 : 0;
      if (words[2 * i + 1] !== high || (dtype === "U64" && low < 0)) throw outside(i);
      out[i] = low;
    }
    return out;
  }
  const View = { I32: Int32Array, I16: Int16Array, I8: Int8Array, U32: Int32Array, U16: Uint16Array }[dtype as string];
  out.set(new (View ?? Uint8Array)(fresh));
  if (dtype === "U32") for (let i = 0; i < out.length; i++) if (out[i] < 0) throw outside(i);
  if (dtype === "BOOL") {
    const odd = out.findIndex((value) => value > 1);
    if (odd >= 0) throw new WeightsError(`value ${odd} of a BOOL tensor is ${out[odd]}, expected 0 or 1`);
  }
  return out;
}

/**
 * Bytes of f32 values as F32, F16 or BF16, rounded to the nearest, ties to even, too large becoming infinite; NaN stays
 * NaN. The result is a fresh array of 4 or 2 bytes a value.
 */
export function fromFloat32(values: Float32Array, dtype: FloatDType): Uint8Array<ArrayBuffer> {
  if (dtype === "F32") return new Uint8Array(new Float32Array(values).buffer);
  const wide = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const narrow = new Uint16Array(wide.length);
  const round = dtype === "F16" ? roundToHalf : roundToBrain;
  for (let i = 0; i < wide.length; i++) narrow[i] = round(wide[i]);
  return new Uint8Array(narrow.buffer);
}

/** Rounds values to the nearest of a narrower type, where they are: bit for bit `toFloat32(fromFloat32(values))`. */
export function roundInPlace(values: Float32Array, dtype: FloatDType): void {
  if (dtype === "F32") return;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === "BF16") for (let i = 0; i < bits.length; i++) bits[i] = roundToBrain(bits[i]) << 16;
  else for (let i = 0; i < bits.length; i++) bits[i] = halfTable()[roundToHalf(bits[i])];
}

/**
 * bf16 of f32 bits: the upper half, plus one when the lower half is above a half, or equal to it and the upper half is
 * odd.
 */
function roundToBrain(bits: number): number {
  // The addition below could carry a NaN's payload into the sign; instead keep what fits and make it quiet.
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

/** f16 of f32 bits. Source of the thresholds: f16 has exponents -14..15, 10 fraction bits, and subnormals of 2^-24. */
function roundToHalf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00 | ((magnitude >>> 13) & 0x3ff); // NaN, made quiet
  if (magnitude >= 0x47800000) return sign | 0x7c00; // 65536 and more
  if (magnitude >= 0x38800000) return sign | shiftToEven(magnitude - 0x38000000, 13); // normal; carries up to infinity
  const exponent = magnitude >>> 23;
  if (exponent < 102) return sign; // below 2^-25: nearer to 0 than to the least subnormal
  return sign | shiftToEven((magnitude & 0x7fffff) | 0x800000, 126 - exponent);
}

/** value / 2^shift, rounded to the nearest, ties to even. */
function shiftToEven(value: number, shift: number): number {
  const quotient = value >>> shift;
  const rest = value & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return rest > half || (rest === half && (quotient & 1) === 1) ? quotient + 1 : quotient;
}

let halves: Uint32Array | undefined;

/** f32 bits of all 65536 f16 patterns, made when first needed. */
function halfTable(): Uint32Array {
  if (halves) return halves;
  halves = new Uint32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = (bits & 0x8000) << 16;
    const exponent = (bits >>> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 31) halves[bits] = sign | 0x7f800000 | (fraction << 13);
    else if (exponent > 0) halves[bits] = sign | ((exponent + 112) << 23) | (fraction << 13);
    else if (fraction > 0) {
      // A subnormal is fraction * 2^-24: move its first one to the hidden place of a normal f32.
      const lead = Math.clz32(fraction) - 21; // places to bit 10
      halves[bits] = sign | ((113 - lead) << 23) | (((fraction << lead) & 0x3ff) << 13);
    } else halves[bits] = sign;
  }
  return halves;
}

function countOf(bytes: Uint8Array, size: number): number {
  if (bytes.length % size === 0) return bytes.length / size;
  throw new WeightsError(`${bytes.length} bytes are no whole number of ${size}-byte values`);
}

function freshBuffer(bytes: Uint8Array, size: number): ArrayBuffer {
  countOf(bytes, size);
  const copy = new Uint8Array(bytes.length);
  copy.set(bytes);
  return copy.buffer;
}

// Typed arrays start at multiples of their width; tensors in a file need not.
const aligned = (bytes: Uint8Array, size: number): boolean => bytes.byteOffset % size === 0;
const alignedBuffer = (bytes: Uint8Array, size: number): ArrayBufferLike =>
  aligned(bytes, size) ? bytes.buffer : freshBuffer(bytes, size);
const alignedOffset = (bytes: Uint8Array, size: number): number => (aligned(bytes, size) ? bytes.byteOffset : 0);

function refusal(dtype: DType, wanted: string): string {
  if (dtype === "F64") return "F64 values are not read: narrowing them would not be exact; save the tensor as F32";
  if (dtype.startsWith("F8_")) return `${dtype} (8-bit float) values are not read; save the tensor as F32, F16 or BF16`;
  return `a ${dtype} tensor cannot be read as ${wanted}`;
}
