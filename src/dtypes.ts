import type { HeldDtype } from "../layers/held.js";
import type { FloatDType } from "../weights/dtype.js";
import type { WeightHolder } from "../weights/holder.js";
import { InputError } from "./errors.js";
import { kernelAddon } from "./native/kernels.js";
import { SETUP_HINT } from "./native/load.js";
import { MappingHolder } from "./native/weight-holder.js";

/** A type of number that the matrices of a model are held in; activations are float32 with each. */
export type Dtype = HeldDtype;

/** A type, or "auto": as stored on a backend that holds any, else float32. */
export type DtypeChoice = Dtype | "auto";

/** Every choice, for messages and argument parsing. */
export const DTYPES: readonly DtypeChoice[] = ["auto", "bfloat16", "float16", "float32"];

const STORED: Record<Dtype, FloatDType> = { bfloat16: "BF16", float16: "F16", float32: "F32" };

/**
 * What keeps the weights of a model for a backend in 16 bit, or null where the backend has only float32.
 * Throws `InputError` for a type that the backend cannot hold.
 */
export function weightHolder(backend: string, dtype: DtypeChoice): WeightHolder | null {
  if (!DTYPES.includes(dtype)) {
    throw new InputError(`dtype: expected one of ${DTYPES.join(", ")}, received "${String(dtype)}"`);
  }
  const addon = backend === "tensorflow" ? kernelAddon() : null;
  if (addon) return new MappingHolder(addon, dtype === "auto" ? null : STORED[dtype]);
  if (dtype === "auto" || dtype === "float32") return null;
  const advice =
    backend === "tensorflow"
      ? `its kernels are not built here: ${SETUP_HINT}`
      : "choose auto or float32, or the backend tensorflow";
  throw new InputError(`dtype: the backend ${backend} holds weights in float32 only, received "${dtype}"; ${advice}`);
}
