import type * as tf from "@tensorflow/tfjs";

import type { GainAxis } from "../../layers/low-rank.js";
import type { Matrix } from "../../layers/matrix.js";
import type { AdapterCounts } from "./adapter-info.js";

/**
 * The low-rank part of one matrix as it is stored: ΔW = scale · B·A, `a` [r, in], `b` [out, r]; DoRA's magnitudes along
 * `axis`.
 */
export type Factors = { a: Matrix; b: tf.Tensor2D; magnitude: tf.Tensor1D | null; axis: GainAxis; scale: number };

/** An adapter in memory. It owns its tensors. */
export class LoadedAdapter {
  constructor(
    readonly name: string,
    readonly source: string,
    readonly counts: AdapterCounts,
    /** By the name of the weight that they change. */
    readonly factors: ReadonlyMap<string, Factors>,
    /** By the name of the weight that they stand in for. */
    readonly whole: ReadonlyMap<string, tf.Tensor>,
  ) {}

  /** Frees every tensor. */
  dispose(): void {
    for (const factors of this.factors.values()) disposeFactors(factors);
    for (const tensor of new Set(this.whole.values())) tensor.dispose();
  }
}

/** Frees the tensors of one low-rank part. */
export function disposeFactors({ a, b, magnitude }: Factors): void {
  a.release();
  a.read().dispose();
  b.dispose();
  magnitude?.dispose();
}
