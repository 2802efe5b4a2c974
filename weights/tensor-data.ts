import { bytesOf, DTYPES, isDType, type DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";

/** A tensor to write: little-endian bytes, or the typed array of its type. */
export interface TensorData {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

/** Whether a value is a list of whole numbers that are not negative. */
export const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);

/** Bytes of a tensor; throws `WeightsError` naming `where` when a product is too large to be exact. */
export function sizeOfTensor(dtype: DType, shape: readonly number[], where: string): number {
  let size = bytesOf(dtype);
  for (const axis of shape) {
    size *= axis;
    if (!Number.isSafeInteger(size)) throw new WeightsError(`${where} has shape [${shape}], more than can be counted`);
  }
  return size;
}

/** The typed array that may stand for a type's bytes, besides Uint8Array for any. */
const ARRAYS: Partial<Record<DType, { readonly name: string }>> = {
  F64: Float64Array,
  F32: Float32Array,
  I64: BigInt64Array,
  I32: Int32Array,
  I16: Int16Array,
  I8: Int8Array,
  U64: BigUint64Array,
  U32: Uint32Array,
  U16: Uint16Array,
};

/**
 * The bytes of a tensor, not copied; throws `WeightsError` naming `where` when type, shape and data do not fit each
 * other.
 */
export function checkedBytes({ dtype, shape, data }: TensorData, where: string): Uint8Array {
  if (!isDType(dtype)) {
    throw new WeightsError(`${where} has dtype ${shown(dtype)}, expected one of ${DTYPES.join(" ")}`);
  }
  if (!isSizes(shape)) throw new WeightsError(`${where} has shape ${shown(shape)}, expected a list of sizes`);
  const kind = data.constructor.name;
  if (!(data instanceof Uint8Array) && kind !== ARRAYS[dtype]?.name) {
    throw new WeightsError(`${where} is ${dtype}, its data is a ${kind}; give its bytes or the matching array`);
  }
  const size = sizeOfTensor(dtype, shape, where);
  if (size !== data.byteLength) {
    throw new WeightsError(`${where} of ${dtype} [${shape}] needs ${size} bytes, its data has ${data.byteLength}`);
  }
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
