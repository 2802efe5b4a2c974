import { WeightsError } from "./errors.js";
import { decodeUtf8, isObject, parseStrictJson, shown } from "./json.js";
import type { Folder } from "./byte-source.js";

/** The file of a sharded checkpoint that says which tensor lies in which shard. */
export const INDEX = "model.safetensors.index.json";
/** The one weight file of a checkpoint that is not sharded. */
export const SINGLE = "model.safetensors";

/** Which file holds each tensor, by the names in the files; `totalSize` is whatever the index claims, unchecked. */
export interface ShardIndex {
  readonly weightMap: ReadonlyMap<string, string>;
  readonly totalSize: unknown;
}

/**
 * Reads `INDEX`. Throws `WeightsError` when it is missing or is no map of tensor names to file names; the names are not
 * checked.
 */
export async function readShardIndex(folder: Folder): Promise<ShardIndex> {
  const where = `${folder.name}/${INDEX}`;
  const json = parseStrictJson(decodeUtf8(await folder.readBytes(INDEX), where), where);
  const map = isObject(json) ? json.weight_map : undefined;
  if (!isObject(json) || !isObject(map) || Object.keys(map).length === 0) {
    throw new WeightsError(`${where} has weight_map ${shown(map)}, expected an object: tensor name to file name`);
  }
  const weightMap = new Map<string, string>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== "string")
      throw new WeightsError(`${where} maps ${shown(name)} to ${shown(file)}, expected a file name`);
    weightMap.set(name, file);
  }
  return { weightMap, totalSize: isObject(json.metadata) ? json.metadata.total_size : undefined };
}
