import type { FoundWeights } from "./find-weights.js";
import { readKerasIndex } from "./keras-index.js";
import { INDEX, readShardIndex, SINGLE } from "./shard-index.js";
import type { Folder } from "./byte-source.js";

/**
 * Names of the files that the weights found in a folder lie in, each once: those of its index where there is one, which
 * alone is read. The names are not checked. Throws `WeightsError` for an index that is none.
 */
export async function weightFileNames(folder: Folder, { form, file }: FoundWeights): Promise<string[]> {
  if (form === "keras" && file!.endsWith(".json")) {
    return [...new Set([...(await readKerasIndex(folder, file!)).files.values()].flat())];
  }
  if (file !== null) return [file];
  if (await folder.has(INDEX)) return [...new Set((await readShardIndex(folder)).weightMap.values())];
  return [SINGLE];
}
