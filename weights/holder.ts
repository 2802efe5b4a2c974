import type * as tf from "@tensorflow/tfjs";

import type { FloatDType } from "./dtype.js";
import type { PackedForm, PackTables } from "./quantised/packed-form.js";
import type { TensorEntry } from "./safetensors.js";
import type { OpenFile } from "./byte-source.js";

/**
 * Keeps matrices as their file has them, in 16 bit where it has 16 bit, for a backend whose kernels read them so. The
 * tensors that it makes are the caller's; they stay good after `close`.
 */
export interface WeightHolder {
  /** The type that matrices are held in, whatever the file has; null: as stored. */
  readonly dtype: FloatDType | null;
  /** Whether files on disk are mapped: then no byte passes through JavaScript. */
  readonly maps: boolean;
  /** What keeps matrices of 8 and 4 bit. */
  readonly packing: Packing;
  /**
   * Throws `WeightsError` naming a mapped file that is not what it was when it was opened; also after `close`, as long
   * as it is in use.
   */
  readonly requireIntact: () => void;
  /** Brings bytes `start` to `end` of a file into memory. Throws as `requireIntact`. */
  prefault(file: OpenFile, start: number, end: number): Promise<void>;
  /** A matrix that stays in its file. */
  mapped(file: OpenFile, entry: TensorEntry): tf.Tensor;
  /** A matrix made of bytes of the type `dtype`. */
  held(bytes: Uint8Array, dtype: FloatDType, shape: readonly number[]): tf.Tensor;
  /** Numbers from a file as an ordinary float32 tensor. */
  widened(file: OpenFile, entry: TensorEntry): tf.Tensor;
  /** Frees what no tensor needs. */
  close(): void;
}

/** Bytes in a file from `start` on, or in memory. */
export type Stored = { file: OpenFile; start: number } | { bytes: Uint8Array };

/** A matrix that is packed and not yet a tensor; the holder's `close` frees it where it never becomes one. */
export type PackedMatrix = {
  readonly form: PackedForm;
  readonly shape: readonly number[];
  /** Numbers of the holder's own. */
  readonly codes: number;
  readonly offset: number;
  readonly tables: number;
  readonly blockSize: number;
  readonly rounding: FloatDType;
};

/** Keeps matrices of 8 and 4 bit. */
export interface Packing {
  /** The form that a matrix is brought into when it is loaded; null: as stored. */
  formOf(name: string, shape: readonly number[]): PackedForm | null;
  /** Packs numbers of the type `dtype`, beside JavaScript. */
  pack(stored: Stored, dtype: FloatDType, shape: readonly number[], form: PackedForm): Promise<PackedMatrix>;
  /** A matrix that is packed already. */
  take(codes: Stored, tables: PackTables, shape: readonly number[], form: PackedForm): PackedMatrix;
  /** The matrix as an operand of kernels. */
  hold(packed: PackedMatrix): tf.Tensor;
}
