import { bytesOf, type DType } from "./dtype.js";
import type { TensorEntry } from "./safetensors.js";
import type { ByteSource } from "./byte-source.js";
import { sizeOfTensor } from "./tensor-data.js";

/**
 * A tensor whose bytes lie in `file` as the model reads them: row by row, little-endian. Such a tensor can be mapped.
 */
export interface PlacedEntry extends TensorEntry {
  readonly file: string;
}

/**
 * A tensor that `file` holds otherwise: transposed, in a larger array, packed or quantised. `dtype` and `shape` are
 * those of what `read` gives.
 */
export interface ComposedEntry {
  readonly name: string;
  readonly file: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /**
   * The tensor's bytes, row by row and little-endian, in a fresh array; `onBytes` hears of as many as it has, in
   * pieces.
   */
  read(onBytes: (bytes: number) => void): Promise<Uint8Array>;
}

/** One tensor of a checkpoint: `name` as the file spells it. */
export type CheckpointEntry = PlacedEntry | ComposedEntry;

/**
 * The weights of a model folder in whatever form: its tensors by canonical name, and the files that placed ones lie in.
 */
export interface WeightFiles {
  readonly entries: ReadonlyMap<string, CheckpointEntry>;
  readonly sources: ReadonlyMap<string, ByteSource>;
  /** What was found beside them that whoever loads them should know; sentences. */
  readonly notices?: readonly string[];
  /** Closes all files. */
  close(): Promise<void>;
}

export const isPlaced = (entry: CheckpointEntry): entry is PlacedEntry => !("read" in entry);

/** Whether a placed tensor's values start where a processor may read them as numbers; in an archive they need not. */
export const isMappable = (entry: CheckpointEntry): entry is PlacedEntry =>
  isPlaced(entry) && entry.start % bytesOf(entry.dtype) === 0;

/** Bytes of an entry's tensor. */
export const sizeOfEntry = ({ name, dtype, shape }: CheckpointEntry): number => sizeOfTensor(dtype, shape, name);

export const sameShape = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((size, axis) => size === b[axis]);
