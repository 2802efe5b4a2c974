import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename, rm, statfs, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";

import { type FloatDType, fromFloat32 } from "../weights/dtype.js";
import { type Case, caseName, type StoredType } from "./cases.js";
import { officialConfig, officialGenerationConfig, officialPreprocessorConfig } from "./official-config.js";
import { RandomPool } from "./random-pool.js";
import { planShards, sizeOf, writeShard } from "./shards.js";
import { standInTokenizer } from "./stand-in-tokenizer.js";
import { type TensorPlan, tensorsOf } from "./tensors.js";

/** A checkpoint to make: `out` is its folder, which must not be there yet. */
export type CheckpointRequest = Case & { out: string; seed: number; log?: (line: string) => void };

/** Names of the stored types in safetensors. */
const IN_FILE: Readonly<Record<StoredType, FloatDType>> = { bfloat16: "BF16", float16: "F16", float32: "F32" };

/** Values made and written at a time. */
const PIECE = 2 ** 22;

/**
 * Writes a full-size checkpoint of seeded random weights in the published layout: config.json, safetensors files of at
 * most 5 GB with their index, the processor's and the generation's settings, and a tokenizer that stands in for
 * Gemma's. It is written beside its place and moved there when complete; about 300 MB of memory are used. Throws an
 * `Error` when the folder is there already or the disk has not enough room.
 */
export async function makeCheckpoint({ out, seed, log = () => {}, ...which }: CheckpointRequest): Promise<void> {
  const place = resolve(out);
  const temporary = join(dirname(place), `.${basename(place)}.${randomUUID()}.part`);
  if (existsSync(place)) throw new Error(`${out}: there is something already; remove it or choose another folder`);
  await mkdir(dirname(place), { recursive: true });
  await checkRoom(dirname(place), checkpointBytes(which));
  try {
    await mkdir(temporary);
    await writeWeights(temporary, which, new RandomPool(seed), log);
    await writeSmallFiles(temporary, which, seed);
    await rename(temporary, place);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    throw new Error(`${out}: the checkpoint cannot be written there`, { cause: error });
  }
}

/** Bytes of all weights of a case, or of those whose names begin with `prefix`. */
export function checkpointBytes(which: Case, prefix = ""): number {
  const tensors = tensorsOf(which).filter(({ name }) => name.startsWith(prefix));
  return tensors.reduce((sum, tensor) => sum + sizeOf(tensor, IN_FILE[which.dtype]), 0);
}

async function checkRoom(folder: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder);
  const [needed, free] = [bytes, bavail * bsize].map((size) => `${(size / 1e9).toFixed(1)} GB`);
  if (bavail * bsize < bytes * 1.01) throw new Error(`${folder}: ${needed} are needed and ${free} are free`);
}

async function writeWeights(folder: string, which: Case, pool: RandomPool, log: (line: string) => void): Promise<void> {
  const dtype = IN_FILE[which.dtype];
  const tensors = tensorsOf(which).map((tensor, index) => ({ ...tensor, index }));
  const shards = planShards(tensors, dtype);
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = shardName(i, shards.length);
    const start = performance.now();
    await writeShard(join(folder, file), shard, dtype, (tensor) => pieces(tensor, pool, dtype));
    const gigabytes = shard.reduce((sum, tensor) => sum + sizeOf(tensor, dtype), 0) / 1e9;
    log(`${file}: ${gigabytes.toFixed(2)} GB in ${((performance.now() - start) / 1000).toFixed(0)} s`);
    weightMap.push(...shard.map(({ name }): [string, string] => [name, file]));
  }
  const index = {
    metadata: { total_size: checkpointBytes(which) },
    weight_map: Object.fromEntries(weightMap.sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  await writeJson(folder, "model.safetensors.index.json", index);
}

const shardName = (i: number, count: number): string =>
  `model-${String(i + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.safetensors`;

function* pieces(tensor: TensorPlan & { index: number }, pool: RandomPool, dtype: FloatDType): Generator<Uint8Array> {
  const count = tensor.shape.reduce((product, axis) => product * axis, 1);
  for (let at = 0; at < count; at += PIECE) {
    const values = pool.values(tensor.index, at, Math.min(PIECE, count - at), tensor.spread);
    yield fromFloat32(values, dtype);
  }
}

async function writeSmallFiles(folder: string, which: Case, seed: number): Promise<void> {
  const { tokenizer, config } = standInTokenizer();
  await writeJson(folder, "tokenizer.json", tokenizer);
  await writeJson(folder, "tokenizer_config.json", config);
  await writeJson(folder, "preprocessor_config.json", officialPreprocessorConfig(which));
  await writeJson(folder, "generation_config.json", officialGenerationConfig());
  await writeFile(join(folder, "config.json"), officialConfig(which));
  const warning = `Random weights (seed ${seed}) in the layout of ${caseName(which)}, for measuring. This is no trained model.\n`;
  await writeFile(join(folder, "README.md"), warning);
}

const writeJson = (folder: string, file: string, value: object): Promise<void> =>
  writeFile(join(folder, file), `${JSON.stringify(value, null, 2)}\n`);
