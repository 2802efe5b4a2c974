import { readdir } from "node:fs/promises";

import { WeightsError } from "./errors.js";
import { holdsBigVision } from "./npz-files.js";
import { INDEX, SINGLE } from "./shard-index.js";
import type { Folder } from "./source.js";

/** A Keras preset's weights in one file, and the index of several. */
export const KERAS_SINGLE = "model.weights.h5";
export const KERAS_INDEX = "model.weights.json";

/** In which form a folder has its weights: Hugging Face's, an archive of big_vision, a preset of keras-hub. */
export type WeightForm = "safetensors" | "big_vision" | "keras";

/** The weights of a folder: their form, and the one file that they are read from, or null where the usual names of the form are. */
export type FoundWeights = { form: WeightForm; file: string | null };

/**
 * Which weights of a folder are read: the file that was asked for by its name, else the first that is there of safetensors, a
 * Keras preset, and (on disk) the one PaliGemma among its .npz files. Null where there is none. Throws `WeightsError` for several archives.
 */
export async function findWeights(folder: Folder): Promise<FoundWeights | null> {
  if (folder.weightFile !== undefined) return { form: formOf(folder.weightFile), file: folder.weightFile };
  if ((await folder.has(INDEX)) || (await folder.has(SINGLE))) return { form: "safetensors", file: null };
  for (const file of [KERAS_SINGLE, KERAS_INDEX]) if (await folder.has(file)) return { form: "keras", file };
  const archives = await bigVisionArchives(folder);
  if (archives.length > 1) {
    const several = archives.slice(0, 8).join(", ");
    throw new WeightsError(`${folder.name}: holds several models, ${several}; give the path of one of the files`);
  }
  return archives.length === 1 ? { form: "big_vision", file: archives[0] } : null;
}

const formOf = (file: string): WeightForm =>
  file.endsWith(".npz") ? "big_vision" : file.endsWith(".safetensors") ? "safetensors" : "keras";

/** A folder may hold other archives, such as the weights of masks: what counts is the token table. */
async function bigVisionArchives(folder: Folder): Promise<string[]> {
  if (folder.localPath === null) return [];
  const found: string[] = [];
  for (const file of (await readdir(folder.localPath)).sort()) {
    if (file.endsWith(".npz") && (await folder.has(file)) && (await holdsBigVision(folder, file))) found.push(file);
  }
  return found;
}
