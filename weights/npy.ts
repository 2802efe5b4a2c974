import { joinBytes } from "./bytes.js";
import { bytesOf } from "./dtype.js";
import { encodeNpyHeader, NPY_PRELUDE, type NpyHeader, type NpyOptions, parseNpyHeader } from "./npy-header.js";
import type { ByteSource } from "./byte-source.js";
import { checkedBytes, type TensorData } from "./tensor-data.js";
import { writeWholeFile } from "./write-file.js";

/** An array as it was in a .npy file, its bytes little-endian and in C order. */
export interface NpyArray extends TensorData {
  readonly data: Uint8Array;
}

/**
 * Reads a NumPy array (.npy, versions 1.0 to 3.0, either byte order, C or Fortran order); the header is checked against
 * the file's size before anything is read for the values. Throws `WeightsError` as `parseNpyHeader` does.
 */
export async function readNpy(source: ByteSource, options: NpyOptions = {}): Promise<NpyArray> {
  const prelude = await source.read(0, Math.min(NPY_PRELUDE, source.size));
  const header = parseNpyHeader(prelude, source.size, source.name, options);
  return arrayOf(header, await source.read(header.dataStart, header.dataEnd));
}

/** As `readNpy`, from the bytes of a whole file; `where` is what errors call it. The result may share its bytes. */
export function decodeNpy(bytes: Uint8Array, where: string, options: NpyOptions = {}): NpyArray {
  const header = parseNpyHeader(bytes, bytes.length, where, options);
  return arrayOf(header, bytes.subarray(header.dataStart, header.dataEnd));
}

/**
 * A .npy file in memory, little-endian and in C order. Throws `WeightsError` naming `where` when type, shape and data
 * do not fit.
 */
export const encodeNpy = (tensor: TensorData, where = "encodeNpy"): Uint8Array<ArrayBuffer> =>
  joinBytes(where, npyParts(tensor, where));

/** The parts of a .npy file: header and values, which are not copied. Throws as `encodeNpy`. */
export function npyParts(tensor: TensorData, where: string): [header: Uint8Array, values: Uint8Array] {
  const values = checkedBytes(tensor, where);
  return [encodeNpyHeader(tensor.dtype, tensor.shape, where), values];
}

/** Writes a .npy file, completely or not at all. Throws `WeightsError` naming the path. */
export const writeNpy = async (path: string, tensor: TensorData): Promise<void> =>
  writeWholeFile(path, npyParts(tensor, path));

function arrayOf({ dtype, shape, bigEndian, fortranOrder }: NpyHeader, values: Uint8Array): NpyArray {
  const width = bytesOf(dtype);
  const little = bigEndian ? swapped(values, width) : values;
  return { dtype, shape, data: fortranOrder ? inCOrder(little, shape, width) : little };
}

/** The values with their bytes in reverse. */
function swapped(values: Uint8Array, width: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at += width) {
    for (let i = 0; i < width; i++) out[at + i] = values[at + width - 1 - i];
  }
  return out;
}

/** Values whose first axis varies fastest, moved so that the last does. */
function inCOrder(values: Uint8Array, shape: readonly number[], width: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(values.length);
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((size, length) => size * length, width));
  const index = shape.map(() => 0);
  let to = 0;
  for (let at = 0; at < values.length; at += width) {
    for (let i = 0; i < width; i++) out[to + i] = values[at + i];
    for (let axis = 0; axis < shape.length; axis++) {
      to += strides[axis];
      if (++index[axis] < shape[axis]) break;
      to -= strides[axis] * shape[axis];
      index[axis] = 0;
    }
  }
  return out;
}
