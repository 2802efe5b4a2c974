import type * as tf from "@tensorflow/tfjs";

import type { FloatDType } from "../../../weights/dtype.js";
import { WeightsError } from "../../../weights/errors.js";
import type { PackedMatrix, Packing, Stored } from "../../../weights/holder.js";
import { type Packed, packMatrix } from "../../../weights/quantised/pack.js";
import type { PackedForm, PackTables } from "../../../weights/quantised/packed-form.js";

/** Packs in JavaScript, and keeps what is packed in the memory of the program until it becomes a tensor. */
export abstract class StagedPacking implements Packing {
  private readonly staged: (Packed | null)[] = [];

  /** `formOf`: the form that a matrix is packed into at loading, null for none. */
  constructor(readonly formOf: Packing["formOf"]) {}

  async pack(stored: Stored, dtype: FloatDType, shape: readonly number[], form: PackedForm): Promise<PackedMatrix> {
    if (form === "fp4") throw new WeightsError("fp4: is read and not made; pack into nf4 or int8");
    return this.stage(await packMatrix(bytesIn(stored), dtype, shape, form), shape, form);
  }

  take(codes: Stored, tables: PackTables, shape: readonly number[], form: PackedForm): PackedMatrix {
    return this.stage({ codes: bytesIn(codes), tables }, shape, form);
  }

  abstract hold(packed: PackedMatrix): tf.Tensor;

  /** Frees what never became a tensor. */
  close(): void {
    this.staged.length = 0;
  }

  /** What a matrix is made of, which is the caller's from now on. */
  protected claim({ codes }: PackedMatrix): Packed {
    const packed = this.staged[codes]!;
    this.staged[codes] = null;
    return packed;
  }

  private stage(packed: Packed, shape: readonly number[], form: PackedForm): PackedMatrix {
    const number = this.staged.push(packed) - 1;
    return { form, shape, codes: number, offset: 0, tables: number, blockSize: 0, rounding: "F32" };
  }
}

function bytesIn(stored: Stored): Uint8Array {
  if ("bytes" in stored) return stored.bytes;
  throw new Error("packing: only a holder that maps files is given places in them");
}
