import path from "node:path";

import { castPieces } from "../../../weights/cast.js";
import { bytesOf, type FloatDType } from "../../../weights/dtype.js";
import { freeBytes } from "../../../weights/hub/disk-space.js";
import { type Layout, LAYOUTS, spelled } from "../../../weights/spellings.js";
import { type TensorToWrite, writeShards } from "../../../weights/shards.js";
import { writeWholeFile } from "../../../weights/write-file.js";
import type { PaliGemmaConfig } from "../../model/config.js";
import type { ConfigFile } from "../../loading/config-file.js";
import { STORED } from "../../backends/dtypes.js";
import { InputError } from "../../base/errors.js";
import type { LoadProgress } from "../../loading/load-network.js";
import { abortSignal, anything, callback, either, flag, number, type OptionKinds, text } from "../../base/options.js";
import { hubConfig } from "./hub-config.js";
import { intoFolder, isWeights } from "./output-folder.js";
import { floatFields, jsonFile } from "./json-file.js";
import { isSideFile, type SideFiles } from "./side-files.js";
import { parseSize } from "./size.js";

/** A type that tensors are saved in. */
export type SavedDtype = keyof typeof STORED;
/** Every such type. */
export const SAVED_DTYPES = Object.keys(STORED) as SavedDtype[];

/** How a model is saved. */
export type SaveOptions = {
  /** The type of every tensor. Default: the type that the model has them in. */
  dtype?: SavedDtype | undefined;
  /** Most bytes of a file of weights, as "5GB" or a number; default "5GB". A tensor is never cut. */
  maxShardSize?: string | number | undefined;
  /** How tensors are spelled; default "hub". */
  layout?: Layout | undefined;
  /** Whether weights and files of the same names may be replaced in a folder that is not empty. */
  overwrite?: boolean | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/** Of each of them. */
export const SAVE_KINDS: OptionKinds<SaveOptions> = {
  dtype: anything,
  maxShardSize: either(text, number),
  layout: anything,
  overwrite: flag,
  onProgress: callback,
  signal: abortSignal,
};

/** What was written: the folder, its files of weights, tensors and their bytes by type. */
export type SavedModel = {
  folder: string;
  files: string[];
  tensors: number;
  totalBytes: number;
  bytesByDtype: Record<string, number>;
};

/** A tensor to save, by its canonical name: its bytes are made when they are asked for, in pieces of whole values. */
export type TensorToSave = {
  name: string;
  dtype: FloatDType;
  shape: readonly number[];
  pieces(): AsyncIterable<Uint8Array>;
};

/**
 * A model to save: its tensors in the order of computation, and everything beside them; `original` is its config.json
 * or null.
 */
export type ModelToSave = {
  config: PaliGemmaConfig;
  original: ConfigFile | null;
  files: SideFiles;
  tensors: TensorToSave[];
};

/**
 * Writes a model as a Hugging Face folder, one tensor at a time: complete, or not at all (`intoFolder`). Throws
 * `InputError` for options that cannot be, a folder that is not empty and a disk that is too small, `WeightsError` for
 * values that the type has no numbers for, and the signal's reason when aborted.
 */
export async function saveModel(model: ModelToSave, folder: string, options: SaveOptions): Promise<SavedModel> {
  const { dtype, maxShardSize = "5GB", layout = "hub", overwrite = false, onProgress, signal } = options;
  requireOneOf("dtype", dtype, SAVED_DTYPES);
  requireOneOf("layout", layout, LAYOUTS);
  const maxShardBytes = parseSize("maxShardSize", maxShardSize);
  const named = (name: string) => spelled(name, layout, model.config.text.tieWordEmbeddings);
  const tensors = model.tensors.map((tensor) => written({ ...tensor, name: named(tensor.name) }, dtype, signal));
  const bytesByDtype = sizes(tensors);
  const totalBytes = Object.values(bytesByDtype).reduce((sum, bytes) => sum + bytes, 0);
  await requireRoom(folder, totalBytes);
  const { json = null, text = "" } = model.original ?? {};
  const config = jsonFile(hubConfig(model.config, json, nameOfDtypes(tensors)), floatFields(text));
  let loadedBytes = 0;
  const onBytes = (bytes: number): void => onProgress?.({ loadedBytes: (loadedBytes += bytes), totalBytes });
  return intoFolder(folder, { overwrite, outdated: isWeights }, async (place) => {
    for (const [name, bytes] of [...model.files, ["config.json", config] as const]) {
      await writeWholeFile(path.join(place, name), [bytes]);
    }
    const { files } = await writeShards(place, tensors, { maxShardBytes, onBytes });
    return { folder, files, tensors: tensors.length, totalBytes, bytesByDtype };
  });
}

/** Whether a file of a folder may be replaced or removed when a model is saved there. */
export const isSavedFile = (name: string): boolean => name === "config.json" || isWeights(name) || isSideFile(name);

function written(
  { name, dtype, shape, pieces }: TensorToSave,
  asked: SavedDtype | undefined,
  signal: AbortSignal | undefined,
): TensorToWrite {
  const to = asked === undefined ? dtype : STORED[asked];
  async function* cast(): AsyncGenerator<Uint8Array> {
    for await (const piece of castPieces(pieces(), [dtype, to], name)) {
      signal?.throwIfAborted();
      yield piece;
    }
  }
  return { name, dtype: to, shape, pieces: cast };
}

function sizes(tensors: readonly TensorToWrite[]): Record<string, number> {
  const bytes: Record<string, number> = {};
  for (const { dtype, shape } of tensors) {
    bytes[dtype] = (bytes[dtype] ?? 0) + shape.reduce((product, axis) => product * axis, bytesOf(dtype));
  }
  return bytes;
}

/** The one type of all tensors in the words of a config, or "mixed". */
function nameOfDtypes(tensors: readonly TensorToWrite[]): string {
  const types = new Set(tensors.map(({ dtype }) => dtype));
  const [only] = types.size === 1 ? types : [];
  return SAVED_DTYPES.find((name) => STORED[name] === only) ?? "mixed";
}

function requireOneOf<T extends string>(name: string, value: T | undefined, known: readonly T[]): void {
  if (value === undefined || known.includes(value)) return;
  throw new InputError(`${name}: expected one of ${known.join(", ")}, received ${JSON.stringify(value)}`);
}

async function requireRoom(folder: string, needed: number): Promise<void> {
  const free = await freeBytes(path.resolve(folder));
  if (free === null || needed <= free) return;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
  throw new InputError(`${folder}: the weights need ${gigabytes(needed)} of disk, ${gigabytes(free)} are free`);
}
