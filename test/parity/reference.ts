import { readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

import * as tf from "@tensorflow/tfjs";

import { demoCheckpoint } from "../../src/demo-checkpoint.js";
import type { ModelInputs } from "../../src/inputs.js";
import { toFloat32, toInt32 } from "../../weights/dtype.js";
import { readHeader } from "../../weights/safetensors.js";
import { memorySource } from "../../weights/source.js";

/** The folder of the committed fixtures. */
export const fixtures = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "fixtures");

/** Every committed reference: its name as "model/case", its folder, and the folder of its model. */
export function committedReferences(): { name: string; reference: string; model: string }[] {
  const root = path.join(fixtures, "references");
  return readdirSync(root).flatMap((model) =>
    readdirSync(path.join(root, model)).map((run) => ({
      name: `${model}/${run}`,
      reference: path.join(root, model, run),
      model: model === "demo" ? demoCheckpoint() : path.join(fixtures, "models", model),
    })),
  );
}

/** A tensor of a reference file. */
export type ReferenceTensor = { shape: readonly number[]; values: Float32Array | Int32Array | Uint8Array };

/** One reference run: what went in, every activation, and what came out. */
export type Reference = {
  name: string;
  /** Name of the model's folder. */
  model: string;
  inputs: ReadonlyMap<string, ReferenceTensor>;
  taps: ReadonlyMap<string, ReferenceTensor>;
  /** Greedy ids of each row. */
  greedy: number[][];
  prompts: string[];
  pictures: string[][];
  versions: Record<string, string>;
};

/** Every tensor of a safetensors file, F32 and bytes as they are, integers as int32. */
export async function readTensors(file: string): Promise<Map<string, ReferenceTensor>> {
  const source = memorySource(file, await readFile(file));
  const header = await readHeader(source);
  const tensors = new Map<string, ReferenceTensor>();
  for (const { name, dtype, shape, start, end } of header.tensors.values()) {
    const bytes = await source.read(start, end);
    const values = dtype === "U8" ? bytes : dtype.startsWith("I") ? toInt32(bytes, dtype) : toFloat32(bytes, dtype);
    tensors.set(name, { shape, values });
  }
  return tensors;
}

/** Reads a reference folder as `make_fixtures.py` writes it. */
export async function readReference(folder: string): Promise<Reference> {
  const about = JSON.parse(await readFile(path.join(folder, "case.json"), "utf8"));
  if (about.schema !== 1) {
    throw new Error(`${folder}: made for schema ${about.schema}, expected 1; run test/fixtures/make_fixtures.py again`);
  }
  return {
    ...about,
    name: `${about.model}/${path.basename(folder)}`,
    inputs: await readTensors(path.join(folder, "inputs.safetensors")),
    taps: await readTensors(path.join(folder, "taps.safetensors")),
  };
}

/** The reference's inputs for the network; pixels become channels-last. The caller disposes `pixelValues`. */
export function modelInputs({ inputs }: Reference): ModelInputs & { pixelValues: tf.Tensor } {
  const rows = (name: string): number[][] => {
    const { shape, values } = inputs.get(name)!;
    return Array.from({ length: shape[0] }, (_, b) => Array.from(values.slice(b * shape[1], (b + 1) * shape[1])));
  };
  const pixels = inputs.get("pixel_values")!;
  return {
    pixelValues: tf.tidy(() => tf.tensor(pixels.values, [...pixels.shape]).transpose([0, 2, 3, 1])),
    inputIds: rows("input_ids"),
    attentionMask: rows("attention_mask"),
    tokenTypeIds: rows("token_type_ids"),
    positionIds: rows("position_ids"),
  };
}
