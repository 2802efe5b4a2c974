import { isFloat, toFloat32, toInt32, type DType } from "../../weights/dtype.js";
import { reasonOf } from "../../weights/bytes.js";
import { WeightsError } from "../../weights/errors.js";

/** The numbers of one activation, in C order. */
export type StoredTensor = { readonly shape: readonly number[]; readonly data: Float32Array };

/** A run as files hold it: activations under their hook names, and what is known of the run. */
export type StoredRun = {
  tensors: Map<string, StoredTensor>;
  metadata: Record<string, string>;
  /** What a reader of these numbers must know, such as how another program's tensor differs from ours. */
  notes: string[];
};

/** Largest whole number below which f32 has every one. */
const EXACT_BELOW = 2 ** 24;

/**
 * Numbers of any type as f32: F16 and BF16 exactly, F64 rounded, integers up to 2^24. Throws `WeightsError` naming
 * `where` for a larger integer and for 8-bit floats.
 */
export function toNumbers(bytes: Uint8Array, dtype: DType, where: string): Float32Array {
  try {
    if (isFloat(dtype)) return toFloat32(bytes, dtype);
    if (dtype === "F64") return Float32Array.from(new Float64Array(bytes.slice().buffer));
    const whole = toInt32(bytes, dtype);
    const far = whole.findIndex((value) => Math.abs(value) > EXACT_BELOW);
    if (far < 0) return Float32Array.from(whole);
    throw new WeightsError(
      `value ${far} is ${whole[far]}, and float32 has every whole number up to ${EXACT_BELOW} only`,
    );
  } catch (error) {
    throw new WeightsError(`${where}: ${reasonOf(error)}`);
  }
}
