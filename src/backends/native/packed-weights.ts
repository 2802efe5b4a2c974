import type * as tf from "@tensorflow/tfjs";

import { markHeld } from "../../../layers/stored.js";
import type { FloatDType } from "../../../weights/dtype.js";
import { WeightsError } from "../../../weights/errors.js";
import type { PackedMatrix, Packing, Stored } from "../../../weights/holder.js";
import { midpointsOf, NF4 } from "../../../weights/quantised/codebooks.js";
import type { OpenFile } from "../../../weights/byte-source.js";
import type { PackedForm, PackTables } from "../../../weights/quantised/packed-form.js";
import type { KernelAddon } from "./kernel-addon.js";
import { holdWeight, TYPES } from "./hold-weight.js";

/** The addon's numbers of forms, and the blocks that it packs numbers in. */
const KIND: Record<PackedForm, number> = { int8: 6, nf4: 100, fp4: 100 };
const BLOCK = 64;

/** Rising values, the points between them, and the code of each interval between those: what the addon packs NF4 by. */
const NF4_TABLE = Float32Array.of(...NF4, ...midpointsOf(NF4), ...NF4.keys());

/** Keeps matrices of 8 and 4 bit where the addon's kernels read them. `formOf`: what is packed at loading. */
export class NativePacking implements Packing {
  private readonly open = new Set<number>();

  constructor(
    private readonly addon: KernelAddon,
    /** The region of a mapped file, which stays the caller's. */
    private readonly region: (file: OpenFile) => number,
    /** Throws where a mapped file is not what it was. */
    private readonly requireIntact: () => void,
    readonly formOf: (name: string, shape: readonly number[]) => PackedForm | null,
  ) {}

  async pack(stored: Stored, dtype: FloatDType, shape: readonly number[], form: PackedForm): Promise<PackedMatrix> {
    if (form === "fp4") throw new WeightsError("fp4: is read and not made; pack into nf4 or int8");
    const [rows, cols] = matrixShape(shape);
    const { region, offset, own } = this.place(stored);
    try {
      const table = form === "nf4" ? NF4_TABLE : null;
      const [codes, tables] = await this.addon.quantise(
        region,
        offset,
        TYPES[dtype].number,
        rows,
        cols,
        KIND[form],
        table,
      );
      this.open.add(codes).add(tables);
      this.requireIntact();
      return { form, shape, codes, offset: 0, tables, blockSize: BLOCK, rounding: dtype };
    } finally {
      if (own) this.addon.close(region);
    }
  }

  take(stored: Stored, tables: PackTables, shape: readonly number[], form: PackedForm): PackedMatrix {
    const { region, offset, own } = this.place(stored);
    if (own) this.open.add(region);
    const floats = tables.kind === "int8" ? tables.absmax : joined(tables.codebook, tables.absmax);
    const scales = this.addon.copy(new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength));
    this.open.add(scales);
    const { blockSize, rounding } = tables.kind === "int8" ? { blockSize: 0, rounding: "F32" as const } : tables;
    return { form, shape, codes: region, offset, tables: scales, blockSize, rounding };
  }

  hold({ form, shape, codes, offset, tables, blockSize, rounding }: PackedMatrix): tf.Tensor {
    const [rows, cols] = matrixShape(shape);
    const id = this.addon.packed(codes, offset, tables, KIND[form], blockSize, TYPES[rounding].number, rows, cols);
    for (const region of [codes, tables]) if (this.open.delete(region)) this.addon.close(region);
    return markHeld(holdWeight(id, shape), form);
  }

  /** Frees what never became a tensor. */
  close(): void {
    for (const region of this.open) this.addon.close(region);
    this.open.clear();
  }

  private place(stored: Stored): { region: number; offset: number; own: boolean } {
    if ("bytes" in stored) return { region: this.addon.copy(stored.bytes), offset: 0, own: true };
    return { region: this.region(stored.file), offset: stored.start, own: false };
  }
}

const matrixShape = (shape: readonly number[]): [rows: number, cols: number] => {
  const size = shape.reduce((product, axis) => product * axis, 1);
  return [shape[0], size / shape[0]];
};

function joined(first: Float32Array, second: Float32Array): Float32Array {
  const both = new Float32Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
}
