import { WeightsError } from "./errors.js";
import { decodeUtf8, isObject, parseStrictJson, shown } from "./json.js";
import type { Folder } from "./byte-source.js";

/**
 * Which files hold each folder of variables, by its path without the first slash; `totalSize` is whatever the index
 * claims, unchecked.
 */
export interface KerasIndex {
  readonly files: ReadonlyMap<string, readonly string[]>;
  readonly totalSize: unknown;
}

/**
 * Reads the index `file` (`*.weights.json`) of a Keras preset in several files. Throws `WeightsError` when it is
 * missing or is no map of folders of variables to names of .h5 files; whether a name stays in the folder is not
 * checked. Source: keras 3.15, saving/saving_lib.py, `ShardedH5IOStore`.
 */
export async function readKerasIndex(folder: Folder, file: string): Promise<KerasIndex> {
  const where = `${folder.name}/${file}`;
  const json = parseStrictJson(decodeUtf8(await folder.readBytes(file), where), where);
  const map = isObject(json) ? json.weight_map : undefined;
  if (!isObject(json) || !isObject(map) || Object.keys(map).length === 0) {
    throw new WeightsError(
      `${where} has weight_map ${shown(map)}, expected an object: folder of variables to file names`,
    );
  }
  const files = new Map<string, string[]>();
  for (const [name, value] of Object.entries(map)) {
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (list.length === 0 || !list.every((item) => typeof item === "string" && item.endsWith(".h5"))) {
      throw new WeightsError(`${where} maps ${shown(name)} to ${shown(value)}, expected names of .h5 files`);
    }
    files.set(name.replace(/^\//, ""), list as string[]);
  }
  return { files, totalSize: isObject(json.metadata) ? json.metadata.total_size : undefined };
}
