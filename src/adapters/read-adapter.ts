import * as tf from "@tensorflow/tfjs";

import { Matrix } from "../../layers/matrix.js";
import type { Weight } from "../../layers/weight.js";
import { ADAPTER_WEIGHTS, AdapterFile, type PlacedTensor } from "../../weights/adapter/adapter-file.js";
import type { AdapterRole } from "../../weights/adapter/expected.js";
import type { Target } from "../../weights/adapter/targets.js";
import { product } from "../../weights/array-part.js";
import { requireMemoryFor } from "../../weights/available-memory.js";
import { toFloat32 } from "../../weights/dtype.js";
import { EMBEDDING, LM_HEAD } from "../../weights/names.js";
import type { Folder } from "../../weights/byte-source.js";
import { expectedTensors, type PaliGemmaModel } from "../model/model.js";
import { countAdapter } from "./adapter-info.js";
import { otherBaseTable } from "./base-table.js";
import { heldLike } from "./held-like.js";
import { disposeFactors, type Factors, LoadedAdapter } from "./loaded-adapter.js";

/**
 * Reads an adapter for a network into memory: low-rank parts in float32, whole tensors in the type that the network
 * holds theirs in. The caller owns it. Throws `WeightsError` for files that lie, are not supported or do not fit, and
 * the signal's reason when aborted.
 */
export async function readAdapter(
  name: string,
  folder: Folder,
  network: PaliGemmaModel,
  signal?: AbortSignal,
): Promise<LoadedAdapter> {
  const file = await AdapterFile.open(folder, expectedTensors(network.config));
  const reader = new AdapterReader(file, network);
  try {
    await reader.read(signal);
    return new LoadedAdapter(name, folder.name, countAdapter(file), reader.factors, reader.whole);
  } catch (error) {
    reader.dispose();
    throw error;
  } finally {
    await file.close();
  }
}

class AdapterReader {
  readonly factors = new Map<string, Factors>();
  readonly whole = new Map<string, tf.Tensor>();
  private readonly weights: ReadonlyMap<string, Weight>;

  constructor(
    private readonly file: AdapterFile,
    private readonly network: PaliGemmaModel,
  ) {
    this.weights = network.weights();
  }

  async read(signal?: AbortSignal): Promise<void> {
    const numbers = this.file.placed.reduce((sum, { shape }) => sum + product(shape), 0);
    requireMemoryFor(`${this.file.folder.name}/${ADAPTER_WEIGHTS}`, 4 * numbers);
    const byRole = new Map(this.file.placed.map((tensor) => [`${tensor.role} ${tensor.weight}`, tensor]));
    for (const target of this.file.targets) {
      signal?.throwIfAborted();
      const weight = `${target.path}.weight`;
      this.factors.set(weight, await this.factorsOf(target, (role) => byRole.get(`${role} ${weight}`)));
    }
    for (const tensor of this.file.placed.filter(({ role }) => role === "whole")) {
      signal?.throwIfAborted();
      this.whole.set(tensor.weight, await this.wholeTensor(tensor));
    }
    const tied = this.network.config.text.tieWordEmbeddings;
    for (const uses of tied ? [[EMBEDDING, LM_HEAD]] : [[EMBEDDING], [LM_HEAD]]) await this.readBaseTable(uses);
  }

  dispose(): void {
    for (const factors of this.factors.values()) disposeFactors(factors);
    for (const tensor of new Set(this.whole.values())) tensor.dispose();
  }

  /** For an embedding, whose table is [rows, D] and read by rows, PEFT's A and B change places. */
  private async factorsOf(
    { kind, scale }: Target,
    find: (role: AdapterRole) => PlacedTensor | undefined,
  ): Promise<Factors> {
    const [first, second, third] = await Promise.all(
      (["a", "b", "magnitude"] as const).map(async (role) => {
        const tensor = find(role);
        return tensor && { values: await this.floats(tensor), shape: tensor.shape };
      }),
    );
    this.network.activate();
    const swapped = kind === "embedding";
    const matrix = ({ values, shape: [rows] }: { values: Float32Array; shape: readonly number[] }): tf.Tensor2D =>
      tf.tidy(() => {
        const read = tf.tensor2d(values, [rows, values.length / rows]);
        return tf.keep(swapped ? read.transpose<tf.Tensor2D>() : read);
      });
    const [a, b] = swapped ? [matrix(second!), matrix(first!)] : [matrix(first!), matrix(second!)];
    const magnitude = third ? tf.keep(tf.tensor1d(third.values)) : null;
    return { a: new Matrix({ read: () => a }), b, magnitude, axis: swapped ? "in" : "out", scale };
  }

  private async wholeTensor(tensor: PlacedTensor): Promise<tf.Tensor> {
    const values = await this.floats(tensor);
    this.network.activate();
    return heldLike(this.weights.get(tensor.weight)!.stored(), values);
  }

  /**
   * Where the file brings the base's table and it is not this base's, it takes the place of all that this base uses its
   * own for, as in PEFT.
   */
  private async readBaseTable(uses: readonly string[]): Promise<void> {
    const [weight] = uses;
    const stored = this.weights.get(weight)!.stored();
    const table = await otherBaseTable(this.file, { weight, stored }, () => this.network.ready());
    if (!table) return;
    const tensor = await this.wholeTensor(table);
    const free = uses.filter((name) => !this.whole.has(name));
    if (free.length === 0) tensor.dispose();
    for (const name of free) this.whole.set(name, tensor);
  }

  private async floats(tensor: PlacedTensor): Promise<Float32Array> {
    return toFloat32(await this.file.read(tensor), tensor.entry.dtype);
  }
}
