import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../layers/tap.js";
import { type FloatDType, fromFloat32, toFloat32 } from "../../weights/dtype.js";
import { InputError } from "../base/errors.js";
import type { AxisLetter, HookPoint } from "../model/hook-catalogue.js";
import { checkOptions, oneOf, type OptionKinds } from "../base/options.js";
import { nearest } from "./hook-filter.js";
import { type Pass, seenAt, WHOLE } from "./pass.js";
import { type AxisIndices, cut, type KeptPart, selectKept } from "./selection.js";

/** How activations are kept: where, and there in which type. */
export type Keeping = {
  /** "backend": as tensors where they were computed. "cpu": as numbers in JavaScript's memory. Default "backend". */
  device?: "backend" | "cpu" | undefined;
  /** Type of the numbers on the CPU; a backend keeps float32. Default "float32". */
  dtype?: "float32" | "bfloat16" | "float16" | undefined;
};

/** Of each of them. */
export const KEEPING_KINDS: OptionKinds<Keeping> = {
  device: oneOf("backend", "cpu"),
  dtype: oneOf("float32", "bfloat16", "float16"),
};

/** What is known of an activation that was kept. */
export type Activation = {
  name: string;
  axes: readonly AxisLetter[];
  shape: readonly number[];
  /** Positions on the axis T, for each row, where only some were kept. */
  positions: readonly (readonly number[])[] | null;
  /** Positions on the axis S, for each row, where only some were kept. */
  keys: readonly (readonly number[])[] | null;
};

type Kept = Activation & { tensor: tf.Tensor | null; bytes: Uint8Array | null };

const TYPES = { float32: "F32", bfloat16: "BF16", float16: "F16" } as const satisfies Record<string, FloatDType>;

/** Activations of one run by name. It owns its tensors until `dispose`. */
export class ActivationCache {
  private readonly kept = new Map<string, Kept>();
  private readonly device: "backend" | "cpu";
  private readonly type: FloatDType;

  constructor(keeping: Keeping = {}) {
    const { device, dtype = "float32" } = checkOptions("activation cache", keeping, KEEPING_KINDS);
    this.device = device ?? (dtype === "float32" ? "backend" : "cpu");
    this.type = TYPES[dtype];
    if (this.device === "backend" && dtype !== "float32") {
      throw new InputError(`dtype: a backend keeps float32, received ${dtype}; give device "cpu" with it`);
    }
  }

  /** The captured names, in the order in which they were computed. */
  get names(): string[] {
    return [...this.kept.keys()];
  }

  /**
   * The activation called `name`, or by its leaf in one block: `get("pattern", 5)` is
   * language.blocks.5.attn.hook_pattern. It stays the cache's. Throws `InputError` when it was not captured.
   */
  get(name: string, layer?: number, tower: "language" | "vision" = "language"): tf.Tensor {
    const entry = this.entry(layer === undefined ? name : this.fullName(name, layer, tower));
    entry.tensor ??= tf.keep(tf.tensor(toFloat32(entry.bytes!, this.type), [...entry.shape]));
    return entry.tensor;
  }

  /** The numbers of an activation in reading order. */
  async values(name: string): Promise<Float32Array> {
    const entry = this.entry(name);
    if (entry.bytes) return toFloat32(entry.bytes, this.type);
    return Float32Array.from(await entry.tensor!.data());
  }

  /** Name, axes, shape, and the positions that were kept. */
  describe(name: string): Activation {
    const { axes, shape, positions, keys } = this.entry(name);
    return { name, axes, shape, positions, keys };
  }

  /** Whether `name` was captured. */
  has(name: string): boolean {
    return this.kept.has(name);
  }

  /** Every name with its tensor; they stay the cache's. */
  entries(): [string, tf.Tensor][] {
    return this.names.map((name) => [name, this.get(name)]);
  }

  /** Bytes of what is kept. */
  get bytes(): number {
    const sizes = [...this.kept.values()].map(({ shape }) => shape.reduce((product, size) => product * size, 1));
    return sizes.reduce((sum, size) => sum + size, 0) * (this.device === "cpu" && this.type !== "F32" ? 2 : 4);
  }

  /** A tap that keeps the wanted activations of one pass, or the selected part of them, and changes nothing. */
  capture(wanted: readonly HookPoint[], part: KeptPart = {}, pass: Pass = WHOLE): Tap {
    const parts = new Map<string, { point: HookPoint; selection: AxisIndices[] }>();
    for (const point of wanted) {
      const selection = selectKept(point, part, pass);
      if (selection !== null) parts.set(point.name, { point, selection });
    }
    const keep: Tap = (name, value) => {
      const part = parts.get(name);
      if (part) this.keep(part.point, part.selection, value, pass);
      return value;
    };
    return Object.assign(keep, { wants: (name: string) => parts.has(name) });
  }

  private keep(point: HookPoint, selection: AxisIndices[], value: tf.Tensor, pass: Pass): void {
    const part = cut(value, selection, point.name);
    const rowsOf = (letter: AxisLetter) => selection.find(({ axis }) => point.axes[axis] === letter)?.rows ?? null;
    const known = {
      name: point.name,
      axes: point.axes,
      shape: part.shape,
      positions: rowsOf("T")?.map((row) => row.map((at) => at + seenAt(point.name, pass).from)) ?? null,
      keys: rowsOf("S"),
    };
    this.free(point.name);
    if (this.device === "backend") {
      this.kept.set(point.name, { ...known, tensor: tf.keep(part), bytes: null });
    } else {
      this.kept.set(point.name, { ...known, tensor: null, bytes: fromFloat32(numbersOf(part), this.type) });
      part.dispose();
    }
  }

  private fullName(leaf: string, layer: number, tower: string): string {
    const start = `${tower}.blocks.${layer}.`;
    const ends = [`.hook_${leaf}`, `.${leaf}`];
    return this.names.find((name) => name.startsWith(start) && ends.some((end) => name.endsWith(end))) ?? start + leaf;
  }

  private entry(name: string): Kept {
    const entry = this.kept.get(name);
    if (entry) return entry;
    const near = nearest(name, this.names).join(", ");
    throw new InputError(`activation cache: "${name}" was not captured; near it are ${near || "none"}`);
  }

  private free(name: string): void {
    this.kept.get(name)?.tensor?.dispose();
  }

  /** Frees every captured tensor. */
  dispose(): void {
    for (const name of this.kept.keys()) this.free(name);
    this.kept.clear();
  }
}

const numbersOf = (tensor: tf.Tensor): Float32Array => tensor.dataSync() as Float32Array;
