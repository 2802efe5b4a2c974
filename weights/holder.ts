import type * as tf from "@tensorflow/tfjs";

import type { FloatDType } from "./dtype.js";
import type { TensorEntry } from "./safetensors.js";

/**
 * Keeps matrices as their file has them, in 16 bit where it has 16 bit, for a backend whose kernels read them so. The tensors
 * that it makes are the caller's; they stay good after `close`.
 */
export interface WeightHolder {
  /** The type that matrices are held in, whatever the file has; null: as stored. */
  readonly dtype: FloatDType | null;
  /** Whether files on disk are mapped: then no byte passes through JavaScript. */
  readonly maps: boolean;
  /** Brings bytes `start` to `end` of the file at `path` into memory. */
  prefault(path: string, start: number, end: number): Promise<void>;
  /** A matrix that stays in the file at `path`. */
  mapped(path: string, entry: TensorEntry): tf.Tensor;
  /** A matrix made of bytes of the type `dtype`. */
  held(bytes: Uint8Array, dtype: FloatDType, shape: readonly number[]): tf.Tensor;
  /** Numbers from the file at `path` as an ordinary float32 tensor. */
  widened(path: string, entry: TensorEntry): tf.Tensor;
  /** Frees what no tensor needs. */
  close(): void;
}
