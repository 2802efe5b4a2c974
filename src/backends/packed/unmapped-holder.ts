import type * as tf from "@tensorflow/tfjs";

import type { FloatDType } from "../../../weights/dtype.js";
import type { WeightHolder } from "../../../weights/holder.js";
import type { StagedPacking } from "./staged-packing.js";

/** Holds weights whose bytes pass through the program: no file is mapped. */
export abstract class UnmappedHolder implements WeightHolder {
  readonly maps = false;
  abstract readonly dtype: FloatDType | null;
  abstract readonly packing: StagedPacking;

  abstract held(bytes: Uint8Array, dtype: FloatDType, shape: readonly number[]): tf.Tensor;

  readonly requireIntact = (): void => {};
  prefault = (): Promise<void> => Promise.reject(new Error("this holder maps no file"));
  mapped(): tf.Tensor {
    throw new Error("this holder maps no file");
  }
  widened(): tf.Tensor {
    throw new Error("this holder maps no file");
  }
  close(): void {
    this.packing.close();
  }
}
