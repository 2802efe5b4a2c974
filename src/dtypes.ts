import type { HeldDtype } from "../layers/held.js";
import type { FloatDType } from "../weights/dtype.js";
import type { WeightHolder } from "../weights/holder.js";
import { InputError } from "./errors.js";
import { hasStockKernels, kernelAddon } from "./native/kernels.js";
import { SETUP_HINT } from "./native/load.js";
import { UploadingHolder } from "./native/stock-kernels.js";
import { MappingHolder } from "./native/weight-holder.js";

/** A type of number that the matrices of a model are held in; activations are float32 with each. */
export type Dtype = HeldDtype;

/** A type, or "auto": as stored on a backend that holds any, else float32. */
export type DtypeChoice = Dtype | "auto";

/** Every choice, for messages and argument parsing. */
export const DTYPES: readonly DtypeChoice[] = ["auto", "bfloat16", "float16", "float32"];

/** The name of each type in a file. */
export const STORED: Record<Dtype, FloatDType> = { bfloat16: "BF16", float16: "F16", float32: "F32" };

/**
 * What keeps the weights of a model for a backend in 16 bit, or null where the backend has only float32.
 * Throws `InputError` for a type that the backend cannot hold.
 */
export function weightHolder(backend: string, dtype: DtypeChoice): WeightHolder | null {
  if (!DTYPES.includes(dtype)) {
    throw new InputError(`dtype: expected one of ${DTYPES.join(", ")}, received "${String(dtype)}"`);
  }
  const addon = backend === "tensorflow" ? kernelAddon() : null;
  const held = dtype === "auto" ? null : STORED[dtype];
  if (addon) return new MappingHolder(addon, held);
  if (backend === "tensorflow" && hasStockKernels()) return new UploadingHolder(held);
  if (dtype === "auto" || dtype === "float32") return null;
  const advice =
    backend === "tensorflow"
      ? `its TensorFlow has no products of 16 bit, and the project's kernels are not built: ${SETUP_HINT}`
      : "choose auto or float32, or the backend tensorflow";
  throw new InputError(`dtype: the backend ${backend} holds weights in float32 only, received "${dtype}"; ${advice}`);
}
