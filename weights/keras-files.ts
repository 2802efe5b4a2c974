import { join } from "node:path";
import { entriesOf, type StoredArray } from "./array-part.js";
import { type WeightFiles } from "./checkpoint-entry.js";
import { WeightsError } from "./errors.js";
import { safeSegments } from "./file-name.js";
import { openH5, type H5File } from "./h5-file.js";
import { shown } from "./json.js";
import { type KerasIndex, readKerasIndex } from "./keras-index.js";
import { isKerasState, kerasParts } from "./keras-names.js";
import type { Folder } from "./byte-source.js";
import { sizeOfTensor } from "./tensor-data.js";

/**
 * The tensors of a Keras preset: `file` is its `*.weights.h5`, or the `*.weights.json` that names several. Throws
 * `WeightsError` for a folder that is not on disk, files that are damaged or hold something else, and an index that
 * lies.
 */
export async function openKeras(folder: Folder, file: string): Promise<WeightFiles> {
  const root = folder.localPath;
  if (root === null) {
    const how = folder.hub ? `run "${folder.hub.download}" first, then ask again` : "download them and give their path";
    throw new WeightsError(
      `${folder.name}: Keras weights (${file}) are read from a folder on disk, not by ranges; ${how}`,
    );
  }
  const index = file.endsWith(".json") ? await readKerasIndex(folder, file) : null;
  const opened = new Map<string, H5File>();
  const close = async (): Promise<void> => {
    for (const h5 of opened.values()) await h5.close();
  };
  try {
    for (const name of index === null ? [file] : new Set([...index.files.values()].flat())) {
      opened.set(name, await openH5(join(root, ...safeSegments(folder.name, name))));
    }
    const arrays = collect(opened);
    if (index !== null) checkIndex(`${folder.name}/${file}`, index, arrays);
    const entries = entriesOf(arrays, kerasParts(new Set(arrays.keys()), folder.name));
    return { entries, sources: new Map(), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function collect(opened: ReadonlyMap<string, H5File>): Map<string, StoredArray> {
  const arrays = new Map<string, StoredArray>();
  for (const [file, h5] of opened) {
    for (const [name, array] of h5.arrays) {
      if (isKerasState(name)) continue;
      const other = arrays.get(name);
      if (other) throw new WeightsError(`${file}: holds the array ${shown(name)}, and so does ${other.file}`);
      arrays.set(name, { ...array, file, place: null });
    }
  }
  return arrays;
}

function checkIndex(where: string, { files, totalSize }: KerasIndex, arrays: ReadonlyMap<string, StoredArray>): void {
  const found = new Map<string, Set<string>>();
  let total = 0;
  for (const [name, { file, dtype, shape }] of arrays) {
    const variables = name.replace(/\/[^/]*$/, "");
    if (!files.get(variables)?.includes(file)) {
      throw new WeightsError(`${where}: ${file} holds the array ${shown(name)}, which is not said to be there`);
    }
    found.set(variables, (found.get(variables) ?? new Set()).add(file));
    total += sizeOfTensor(dtype, shape, `${file}: array ${shown(name)}`);
  }
  for (const [variables, list] of files) {
    const lacking = isKerasState(`${variables}/0`) ? undefined : list.find((file) => !found.get(variables)?.has(file));
    if (lacking)
      throw new WeightsError(`${where}: puts variables of ${shown(variables)} into ${lacking}, which has none`);
  }
  if (totalSize !== undefined && typeof totalSize === "number" && totalSize < total) {
    throw new WeightsError(`${where}: has total_size ${totalSize}, the arrays have ${total} bytes`);
  }
}
