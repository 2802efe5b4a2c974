import * as tf from "@tensorflow/tfjs";

import { dense, markHeld } from "../../../layers/stored.js";
import type { FloatDType } from "../../../weights/dtype.js";
import type { Packing, WeightHolder } from "../../../weights/holder.js";
import type { TensorEntry } from "../../../weights/safetensors.js";
import type { OpenFile } from "../../../weights/byte-source.js";
import { WeightsError } from "../../../weights/errors.js";
import { changedFile } from "../../../weights/file-version.js";
import type { KernelAddon } from "./kernel-addon.js";
import { holdWeight, TYPES } from "./hold-weight.js";
import { NativePacking } from "./packed-weights.js";

/**
 * Holds weights where the addon's kernels read them: in the mapped file itself, or in memory of its own. A tensor that
 * it makes owns its weight: disposing it gives the memory back, and the last one of a file unmaps it. Only with the
 * backend "tensorflow".
 */
export class MappingHolder implements WeightHolder {
  readonly maps = true;
  private readonly regions = new Map<OpenFile, number>();
  /** The paths of the files that were mapped, by region: these are asked for also after `close`. */
  private readonly paths = new Map<number, string>();

  readonly packing: NativePacking;

  /** `formOf`: the form that a matrix is packed into at loading, null for none (default). */
  constructor(
    private readonly addon: KernelAddon,
    readonly dtype: FloatDType | null,
    formOf: Packing["formOf"] = () => null,
  ) {
    this.packing = new NativePacking(addon, (file) => this.region(file), this.requireIntact, formOf);
  }

  readonly requireIntact = (): void => {
    for (const [region, path] of this.paths) {
      const fault = this.addon.fault(region);
      if (fault !== "") throw changedFile(path, fault);
    }
  };

  async prefault(file: OpenFile, start: number, end: number): Promise<void> {
    await this.addon.prefault(this.region(file), start, end);
    this.requireIntact();
  }

  mapped(file: OpenFile, { name, dtype, shape, start }: TensorEntry): tf.Tensor {
    return this.hold(this.region(file), start, dtype as FloatDType, shape, name);
  }

  held(bytes: Uint8Array, dtype: FloatDType, shape: readonly number[]): tf.Tensor {
    const region = this.addon.copy(bytes);
    try {
      return this.hold(region, 0, dtype, shape, "a weight in memory");
    } finally {
      this.addon.close(region);
    }
  }

  widened(file: OpenFile, entry: TensorEntry): tf.Tensor {
    return tf.tidy(() => dense(this.mapped(file, entry)));
  }

  close(): void {
    this.packing.close();
    for (const region of this.regions.values()) this.addon.close(region);
    this.regions.clear();
  }

  private region(file: OpenFile): number {
    let region = this.regions.get(file);
    if (region === undefined) {
      try {
        region = this.addon.map(file.descriptor, file.version);
      } catch (error) {
        throw new WeightsError(`${file.path}: cannot be mapped (${(error as Error).message}); load it again`);
      }
      this.regions.set(file, region);
      this.paths.set(region, file.path);
    }
    return region;
  }

  private hold(region: number, offset: number, dtype: FloatDType, shape: readonly number[], name: string): tf.Tensor {
    const rows = shape.length > 1 ? shape[0] : 1;
    const size = shape.reduce((product, axis) => product * axis, 1);
    if (size === 0) throw new WeightsError(`${name}: has no values, its shape is [${shape}]`);
    const { number, name: heldAs } = TYPES[dtype];
    const id = this.addon.weight(region, offset, number, rows, size / rows);
    return markHeld(holdWeight(id, shape), heldAs);
  }
}
