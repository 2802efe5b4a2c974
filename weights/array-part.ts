import type { CheckpointEntry } from "./checkpoint-entry.js";
import { bytesOf, type DType } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";
import { readTransposed } from "./transpose.js";

/** An array of a file that holds many: type, shape, and its values row by row, little-endian. */
export interface StoredArray {
  readonly name: string;
  readonly file: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Where the values start in `file`, where they lie there as they are; else null. */
  readonly place: number | null;
  /** Bytes `start` to `end` of the values. */
  read(start: number, end: number): Promise<Uint8Array>;
  /** Where reading backwards costs much: runs readers of whole parts one after another. */
  inTurn?<T>(reader: () => Promise<T>): Promise<T>;
}

/**
 * Which part of an array a tensor is: at `index` of the leading axes; each of its axes is made of these of the others,
 * in order.
 */
export interface ArrayPart {
  readonly array: string;
  readonly index: readonly number[];
  readonly axes: readonly (readonly number[])[];
}

/**
 * A part of an array as a tensor of a checkpoint: placed where its values lie in order, else composed of them. Throws
 * `WeightsError` naming the array where it has not the axes or not the index that `part` speaks of.
 */
export function partOf(array: StoredArray, { index, axes }: ArrayPart): CheckpointEntry {
  const { dtype, file, shape, place } = array;
  const order = axes.flat();
  if (shape.length !== index.length + order.length || index.some((at, axis) => at >= shape[axis])) {
    const wanted = index.length === 0 ? "" : ` and a part [${index.join(", ")}]`;
    const expected = `expected ${index.length + order.length} axes${wanted}`;
    throw new WeightsError(`${file}: array ${shown(array.name)} is [${shape}], ${expected}; is this a PaliGemma?`);
  }
  const inner = shape.slice(index.length);
  const width = bytesOf(dtype);
  const size = product(inner) * width;
  const number = index.reduce((at, i, axis) => at * shape[axis] + i, 0);
  const [start, end] = [number * size, (number + 1) * size];
  const described = {
    name: index.length === 0 ? array.name : `${array.name}[${index.join(", ")}]`,
    file,
    dtype,
    shape: axes.map((joined) => product(joined.map((axis) => inner[axis]))),
  };
  const inOrder = order.every((axis, i) => axis === i);
  if (inOrder && place !== null) return { ...described, start: place + start, end: place + end };
  const transposition = { shape: inner, order, width, where: `${file}: array ${array.name}` };
  const read = (onBytes: (bytes: number) => void): Promise<Uint8Array> =>
    readTransposed((from, to) => array.read(start + from, start + to), transposition, onBytes);
  return { ...described, read: (onBytes) => (array.inTurn ? array.inTurn(() => read(onBytes)) : read(onBytes)) };
}

/** A whole array under its own name: what no rule knows, to be reported. */
export const wholeArray = (array: StoredArray): CheckpointEntry =>
  partOf(array, { array: array.name, index: [], axes: array.shape.map((_, axis) => [axis]) });

/**
 * The tensors that `parts` name, by canonical name, and arrays that no part is of under their own names. Throws
 * `WeightsError` as `partOf` does, and for an array that the parts do not use up.
 */
export function entriesOf(
  arrays: ReadonlyMap<string, StoredArray>,
  parts: ReadonlyMap<string, ArrayPart>,
): Map<string, CheckpointEntry> {
  const entries = new Map<string, CheckpointEntry>();
  const used = new Map<string, number>();
  for (const [name, part] of parts) {
    const array = arrays.get(part.array);
    if (array === undefined) continue;
    const entry = partOf(array, part);
    used.set(part.array, (used.get(part.array) ?? 0) + product(entry.shape));
    entries.set(name, entry);
  }
  for (const [name, array] of arrays) {
    const values = used.get(name);
    if (values === undefined) entries.set(name, wholeArray(array));
    else if (values !== product(array.shape)) {
      const known = `of whose ${product(array.shape)} values ${values} are known`;
      throw new WeightsError(`${array.file}: array ${shown(array.name)} is [${array.shape}], ${known}`);
    }
  }
  return entries;
}

/** How many values an array of a shape holds. */
export const product = (shape: readonly number[]): number => shape.reduce((size, axis) => size * axis, 1);
