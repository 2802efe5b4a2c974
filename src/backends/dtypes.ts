import type { HeldDtype } from "../../layers/stored.js";
import type { FloatDType } from "../../weights/dtype.js";
import type { WeightHolder } from "../../weights/holder.js";
import type { PackedForm } from "../../weights/quantised/packed-form.js";
import { InputError } from "../base/errors.js";
import { hasStockKernels, kernelAddon } from "./native/kernels.js";
import { SETUP_HINT } from "./native/load.js";
import { UploadingHolder } from "./native/stock-kernels.js";
import { MappingHolder } from "./native/weight-holder.js";
import { HostHolder } from "./packed/host-packing.js";

/** A type of number that the matrices of a model are held in; activations are float32 with each. */
export type Dtype = HeldDtype;

/** A type that matrices can be brought into, or "auto": as stored on a backend that holds any, else float32. */
export type DtypeChoice = Exclude<Dtype, "fp4"> | "auto";

/** Every choice, for messages and argument parsing. */
export const DTYPES: readonly DtypeChoice[] = ["auto", "bfloat16", "float16", "float32", "int8", "nf4"];

/** The name in a file of each type that is no packed form. */
export const STORED = { bfloat16: "BF16", float16: "F16", float32: "F32" } as const satisfies Record<
  string,
  FloatDType
>;

/** Whether weights of that type are packed: codes with tables, and no numbers. */
export const isPackedForm = (dtype: Dtype): dtype is PackedForm => !Object.hasOwn(STORED, dtype);

/** Whether a choice packs matrices at loading. */
export const isPacked = (dtype: DtypeChoice): dtype is "int8" | "nf4" => dtype === "int8" || dtype === "nf4";

/**
 * The form that a tensor is packed into: matrices of the decoder's layers into the chosen one, other matrices into 8
 * bit, for 4 bit of the token table or the vision tower cost more than they save; vectors and the position table not at
 * all (null). Source: ggml-org/llama.cpp PR #5650 (perplexity by the table's bits).
 */
export function packedForm(choice: DtypeChoice, name: string, shape: readonly number[]): PackedForm | null {
  if (!isPacked(choice) || shape.length < 2 || name.endsWith("position_embedding.weight")) return null;
  return /^language_model\.model\.layers\./.test(name) ? choice : "int8";
}

/** Whether a backend multiplies weights of 16 bit. */
export const holdsSixteenBit = (backend: string): boolean =>
  backend === "tensorflow" && (kernelAddon() !== null || hasStockKernels());

/**
 * What keeps the weights of a model for a backend: as stored where it multiplies 16 bit, packed ones packed everywhere.
 * Throws `InputError` for a type that the backend cannot hold.
 */
export function weightHolder(backend: string, dtype: DtypeChoice): WeightHolder {
  if (!DTYPES.includes(dtype)) {
    throw new InputError(`dtype: expected one of ${DTYPES.join(", ")}, received "${String(dtype)}"`);
  }
  const held = dtype === "auto" || isPacked(dtype) ? null : STORED[dtype];
  const formOf = (name: string, shape: readonly number[]) => packedForm(dtype, name, shape);
  if (holdsSixteenBit(backend)) {
    const addon = kernelAddon();
    return addon ? new MappingHolder(addon, held, formOf) : new UploadingHolder(held, formOf);
  }
  if (held === null || held === "F32") return new HostHolder(backend, held, formOf);
  const advice =
    backend === "tensorflow"
      ? `the project's kernels for it are not built: ${SETUP_HINT}`
      : "choose auto, float32, int8 or nf4, or the backend tensorflow";
  throw new InputError(`dtype: the backend ${backend} holds no weights of 16 bit, received "${dtype}"; ${advice}`);
}
