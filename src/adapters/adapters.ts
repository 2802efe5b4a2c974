import type * as tf from "@tensorflow/tfjs";

import type { Matrix } from "../../layers/matrix.js";
import { isPlain } from "../../weights/options.js";
import { openFolder } from "../../weights/source.js";
import { InputError } from "../base/errors.js";
import type { PaliGemmaModel } from "../model/model.js";
import { abortSignal, checkOptions, described, listed } from "../base/options.js";
import { Activation, type ActiveAdapter } from "./activation.js";
import type { AdapterInfo } from "./adapter-info.js";
import type { LoadedAdapter } from "./loaded-adapter.js";
import { mergedTensor } from "./merge.js";
import { readAdapter } from "./read-adapter.js";

/** Which adapters are to be active: names or a single one, or names with the factor of each. */
export type AdapterChoice = string | readonly string[] | Readonly<Record<string, number>>;

/** A matrix, and what stands in for it with its low-rank parts in it. */
type Merged = { matrix: Matrix; tensor: tf.Tensor };

/**
 * LoRA adapters of a network: any number loaded, any of them active, changed without touching the base's weights.
 * Several add their low-rank parts up in the order given (DoRA scales what stands before it). Source of the rules: peft
 * 0.21, tuners/lora.
 */
export class Adapters {
  private readonly loaded = new Map<string, LoadedAdapter>();
  private activation: Activation;
  private merged: readonly Merged[] | null = null;

  constructor(private readonly network: PaliGemmaModel) {
    this.activation = this.chosen([]);
  }

  /** Every loaded adapter, in the order of loading. */
  get list(): AdapterInfo[] {
    const weights = new Map(this.activation.active.map(({ adapter, weight }) => [adapter, weight]));
    return [...this.loaded.values()].map((adapter) => {
      const { name, source, counts } = adapter;
      const weight = weights.get(adapter) ?? null;
      return { name, source, weight, merged: weight !== null && this.isMerged, ...counts };
    });
  }

  /**
   * Reads an adapter that PEFT has saved, under a name of the caller's; it is not active yet. Throws `InputError` for a
   * name that is taken, `WeightsError` for files that are not supported or do not fit, and the signal's reason when
   * aborted.
   */
  async load(
    name: string,
    pathOrUrl: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<AdapterInfo> {
    const { signal } = checkOptions("adapters", options, { signal: abortSignal });
    this.requireFree(name);
    const adapter = await readAdapter(name, await openFolder(pathOrUrl, signal), this.network, signal);
    try {
      this.requireFree(name); // another call may have been faster
    } catch (error) {
      adapter.dispose();
      throw error;
    }
    this.loaded.set(name, adapter);
    return this.list.at(-1)!;
  }

  /**
   * Makes these the active adapters and no others. A factor scales the low-rank parts, as PEFT's `set_scale`; whole
   * tensors it does not. Throws `InputError` for unknown names, while adapters are merged, and where two want to
   * replace one tensor; then nothing has changed.
   */
  set(choice: AdapterChoice): void {
    this.requireUnmerged("choosing others");
    this.network.activate();
    this.replaceActivation(this.chosen(this.resolved(choice)));
  }

  /**
   * Frees an adapter; one that is active is made inactive first. Throws `InputError` for an unknown name, and while it
   * is merged.
   */
  unload(name: string): void {
    const adapter = this.named(name);
    const { active } = this.activation;
    if (active.some((one) => one.adapter === adapter)) {
      this.requireUnmerged(`unloading "${name}"`);
      this.network.activate();
      this.replaceActivation(this.chosen(active.filter((one) => one.adapter !== adapter)));
    }
    this.loaded.delete(name);
    adapter.dispose();
  }

  /**
   * Folds the active adapters into the weights: products then cost what they cost without. Takes as much memory as the
   * matrices changed.
   */
  async merge(): Promise<void> {
    this.requireUnmerged("merging again");
    const { activation } = this;
    if (activation.active.length === 0) throw new InputError("adapters: none is active that could be merged");
    const merged: Merged[] = [];
    try {
      for (const matrix of activation.adapted()) {
        merged.push({ matrix, tensor: await mergedTensor(matrix, () => this.network.ready()) });
        if (this.activation !== activation || this.isMerged) {
          throw new InputError("adapters: they were changed while they were being merged");
        }
      }
    } catch (error) {
      for (const { tensor } of merged) tensor.dispose();
      throw error;
    }
    for (const { matrix, tensor } of merged) {
      matrix.adapt([]);
      matrix.replace(tensor);
    }
    this.merged = merged;
    this.network.weightsChanged([]); // but for rounding they mean the same
  }

  /**
   * Takes the adapters out of the weights again, which then have the very bits that they had before; they stay active
   * beside them.
   */
  unmerge(): void {
    if (this.merged === null) throw new InputError("adapters: none is merged");
    this.activation.apply();
    for (const { tensor } of this.merged) tensor.dispose();
    this.merged = null;
    this.network.weightsChanged([]); // but for rounding they mean the same
  }

  /** Frees every adapter; the network has then its own weights. */
  dispose(): void {
    if (this.isMerged) this.unmerge();
    this.replaceActivation(this.chosen([])); // also where the network's weights are gone
    for (const name of [...this.loaded.keys()]) this.unload(name);
  }

  private get isMerged(): boolean {
    return this.merged !== null;
  }

  private chosen(active: readonly ActiveAdapter[]): Activation {
    return new Activation(this.network.weights(), active);
  }

  private replaceActivation(next: Activation): void {
    const changed = [...this.activation.names, ...next.names];
    this.activation.undo();
    this.activation.dispose();
    next.apply();
    this.activation = next;
    this.network.weightsChanged(changed);
  }

  private resolved(choice: AdapterChoice): ActiveAdapter[] {
    if (typeof choice !== "string" && !Array.isArray(choice) && !isPlain(choice)) {
      throw new InputError(`adapters: expected names, or an object of factors, received ${described(choice)}`);
    }
    const pairs: (readonly [string, number])[] = isNames(choice)
      ? listed(choice).map((name) => [name, 1] as const)
      : Object.entries(choice);
    const twice = pairs.find(([name], i) => pairs.findIndex(([other]) => other === name) !== i);
    if (twice) throw new InputError(`adapters: "${twice[0]}" is there twice`);
    return pairs.map(([name, weight]) => {
      if (!Number.isFinite(weight)) {
        throw new InputError(`adapters: expected a number as the factor of "${name}", received ${String(weight)}`);
      }
      return { adapter: this.named(name), weight };
    });
  }

  private named(name: string): LoadedAdapter {
    const adapter = this.loaded.get(name);
    if (adapter) return adapter;
    const known = [...this.loaded.keys()].map((one) => `"${one}"`).join(", ") || "none";
    throw new InputError(`adapters: there is no "${String(name)}"; loaded: ${known}`);
  }

  private requireFree(name: string): void {
    if (typeof name !== "string" || name === "") throw new InputError("adapters: expected a name that is not empty");
    if (this.loaded.has(name))
      throw new InputError(`adapters: "${name}" is loaded already; unload it, or take another name`);
  }

  private requireUnmerged(what: string): void {
    if (this.isMerged)
      throw new InputError(`adapters: they are merged; take them out with unmergeAdapters before ${what}`);
  }
}

const isNames = (choice: AdapterChoice): choice is string | readonly string[] =>
  typeof choice === "string" || Array.isArray(choice);
