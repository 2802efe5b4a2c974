import { readFile } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { toFloat32, toInt32 } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import { parseJson } from "../../weights/json.js";
import { readHeader } from "../../weights/safetensors.js";
import { openFile } from "../../weights/source.js";
import type { ModelInputs } from "../model/inputs.js";

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

/**
 * Every tensor of a safetensors file, F32 and bytes as they are, integers as int32. Throws `WeightsError` as reading
 * such a file does.
 */
export async function readTensors(file: string): Promise<Map<string, ReferenceTensor>> {
  const source = await openFile(file);
  try {
    const header = await readHeader(source);
    const tensors = new Map<string, ReferenceTensor>();
    for (const { name, dtype, shape, start, end } of header.tensors.values()) {
      const bytes = await source.read(start, end);
      const values = dtype === "U8" ? bytes : dtype.startsWith("I") ? toInt32(bytes, dtype) : toFloat32(bytes, dtype);
      tensors.set(name, { shape, values });
    }
    return tensors;
  } finally {
    await source.close();
  }
}

/**
 * Reads a reference folder as test/fixtures/make_fixtures.py writes it. Throws `WeightsError` for one that is
 * incomplete or of another schema.
 */
export async function readReference(folder: string): Promise<Reference> {
  const about = await readCase(path.join(folder, "case.json"));
  return {
    ...about,
    name: `${about.model}/${path.basename(folder)}`,
    inputs: await readTensors(path.join(folder, "inputs.safetensors")),
    taps: await readTensors(path.join(folder, "taps.safetensors")),
  };
}

async function readCase(file: string): Promise<Omit<Reference, "inputs" | "taps" | "name">> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new WeightsError(`${file}: cannot be read (${error.code ?? error.message}); install the package anew`);
  });
  const about = parseJson(text, file) as { schema?: unknown };
  if (about.schema === 1) return about as unknown as Reference;
  throw new WeightsError(
    `${file}: made for schema ${String(about.schema)}, expected 1; run test/fixtures/make_fixtures.py`,
  );
}

/**
 * The reference's inputs for the network; pixels become channels-last. A small reference has its pictures as bytes, of
 * which the pixels are made as the processor makes them: (b / 255 - 0.5) / 0.5. The caller disposes `pixelValues`.
 */
export function modelInputs({ inputs }: Reference): ModelInputs & { pixelValues: tf.Tensor } {
  const rows = (name: string): number[][] => {
    const { shape, values } = inputs.get(name)!;
    return Array.from({ length: shape[0] }, (_, b) => Array.from(values.slice(b * shape[1], (b + 1) * shape[1])));
  };
  const pixels = inputs.get("pixel_values");
  const bytes = inputs.get("pixel_bytes")!;
  return {
    pixelValues: tf.tidy(() =>
      pixels
        ? tf.tensor(pixels.values, [...pixels.shape]).transpose([0, 2, 3, 1])
        : tf
            .tensor(bytes.values, [...bytes.shape], "float32")
            .div(255)
            .sub(0.5)
            .div(0.5),
    ),
    inputIds: rows("input_ids"),
    attentionMask: rows("attention_mask"),
    tokenTypeIds: rows("token_type_ids"),
    positionIds: rows("position_ids"),
  };
}
