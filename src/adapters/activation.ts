import * as tf from "@tensorflow/tfjs";

import { type LowRank, lowRankNorms, rowsWithLowRank } from "../../layers/low-rank.js";
import { Matrix } from "../../layers/matrix.js";
import type { Weight } from "../../layers/weight.js";
import { InputError } from "../base/errors.js";
import type { Factors, LoadedAdapter } from "./loaded-adapter.js";

/** An adapter and the factor that its low-rank parts are used with. */
export type ActiveAdapter = { adapter: LoadedAdapter; weight: number };

/** What a weight of the model becomes: another tensor in its place, low-rank parts beside it, or both. */
type Change = { standIn: tf.Tensor | null; parts: LowRank[] };

/**
 * What a choice of adapters makes of a model's weights. It owns what it has computed: factors with their scale, DoRA's
 * gains, and small tables. Nothing changes before `apply`.
 */
export class Activation {
  private readonly changes = new Map<string, Change>();
  private readonly owned: tf.Tensor[] = [];
  private readonly matrices: Matrix[] = [];

  /** Throws `InputError` where one adapter replaces what another changes too. */
  constructor(
    private readonly weights: ReadonlyMap<string, Weight>,
    readonly active: readonly ActiveAdapter[],
  ) {
    checkConflicts(active);
    try {
      for (const { adapter } of active) {
        for (const [name, tensor] of adapter.whole) this.changeOf(name).standIn = tensor;
      }
      for (const { adapter, weight } of active) {
        for (const [name, factors] of adapter.factors) this.addPart(name, factors, weight);
      }
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** The names of the weights that change. */
  get names(): string[] {
    return [...this.changes.keys()];
  }

  /** The matrices with low-rank parts. */
  adapted(): Matrix[] {
    const names = [...this.changes].filter(([, { parts }]) => parts.length > 0).map(([name]) => name);
    return names.map((name) => this.weights.get(name) as Matrix);
  }

  /** Gives the weights their meaning. */
  apply(): void {
    for (const [name, { standIn, parts }] of this.changes) {
      const weight = this.weights.get(name)!;
      weight.replace(standIn);
      if (weight instanceof Matrix) weight.adapt(parts);
    }
  }

  /** Gives the weights back what they have in the checkpoint. */
  undo(): void {
    for (const name of this.changes.keys()) {
      const weight = this.weights.get(name)!;
      weight.replace(null);
      if (weight instanceof Matrix) weight.adapt([]);
    }
  }

  /** Frees what it has computed; the adapters stay. */
  dispose(): void {
    for (const matrix of this.matrices) matrix.release();
    tf.dispose(this.owned);
  }

  private changeOf(name: string): Change {
    let change = this.changes.get(name);
    if (!change) this.changes.set(name, (change = { standIn: null, parts: [] }));
    return change;
  }

  private addPart(name: string, factors: Factors, factor: number): void {
    const change = this.changeOf(name);
    const weight = this.weights.get(name)!;
    const base = change.standIn ?? weight.stored();
    const part = this.lowRank(factors, factor, base);
    if (weight instanceof Matrix) change.parts.push(part);
    else change.standIn = this.own(folded(base, part)); // a table that is only added: as cheap whole
  }

  private lowRank({ a, b, magnitude, axis, scale }: Factors, factor: number, base: tf.Tensor): LowRank {
    const product = scale * factor === 1 ? b : this.own(b.mul<tf.Tensor2D>(scale * factor));
    const scaled = new Matrix({ read: () => product });
    this.matrices.push(scaled);
    if (magnitude === null) return { a, b: scaled, gain: null, axis };
    const gain = tf.tidy(() => magnitude.div<tf.Tensor1D>(lowRankNorms(base, { a, b: scaled, axis })));
    return { a, b: scaled, gain: this.own(gain), axis };
  }

  private own<T extends tf.Tensor>(tensor: T): T {
    this.owned.push(tensor);
    return tf.keep(tensor);
  }
}

/** A table of ordinary numbers [rows, in] with a low-rank part in it. */
const folded = (table: tf.Tensor, part: LowRank): tf.Tensor =>
  tf.tidy(() => rowsWithLowRank(table, tf.range(0, table.shape[0], 1, "int32"), part));

function checkConflicts(active: readonly ActiveAdapter[]): void {
  for (const { adapter } of active) {
    for (const name of adapter.whole.keys()) {
      const other = active.find(
        (one) => one.adapter !== adapter && (one.adapter.whole.has(name) || one.adapter.factors.has(name)),
      );
      if (!other) continue;
      const both = `"${adapter.name}" replaces ${name}, which "${other.adapter.name}" changes too`;
      throw new InputError(`adapters: ${both}; only one of them can be active`);
    }
  }
}
