import { type PlacedEntry, type WeightFiles } from "./checkpoint-entry.js";
import { WeightsError } from "./errors.js";
import { shown } from "./json.js";
import { canonicalNames } from "./names.js";
import { withQuantised } from "./quantised/bitsandbytes.js";
import { readHeader } from "./safetensors.js";
import { INDEX, readShardIndex, type ShardIndex, SINGLE } from "./shard-index.js";
import type { ByteSource, Folder } from "./byte-source.js";

/**
 * The tensors of `file`, or (null) of the shards of `model.safetensors.index.json`, or else of `model.safetensors`,
 * from their headers. Throws `WeightsError` for a header or index that lies, and where two names are one tensor.
 */
export async function openSafetensors(folder: Folder, file: string | null): Promise<WeightFiles> {
  const index = file === null && (await folder.has(INDEX)) ? await readShardIndex(folder) : null;
  const sources = new Map<string, ByteSource>();
  const close = async (): Promise<void> => {
    for (const source of sources.values()) await source.close();
  };
  try {
    const tensors = await readTensors(folder, index ?? file ?? SINGLE, sources);
    const names = canonicalNames(tensors.keys(), folder.name);
    const entries = new Map([...names].map(([canonical, name]) => [canonical, tensors.get(name)!]));
    return await withQuantised({ entries, sources, notices: await strayFile(folder, index), close });
  } catch (error) {
    await close();
    throw error;
  }
}

/** What to say where one whole file lies beside an index, which counts. */
async function strayFile(folder: Folder, index: ShardIndex | null): Promise<string[]> {
  if (index === null || [...index.weightMap.values()].includes(SINGLE) || !(await folder.has(SINGLE))) return [];
  const advice = `give its path to load it, or remove one of the two`;
  return [
    `${folder.name}: ${SINGLE} lies beside ${INDEX} and is not read (transformers would read it alone); ${advice}`,
  ];
}

/** Opens the files of an index, or one file, into `sources` and lists their tensors by the names in the files. */
async function readTensors(
  folder: Folder,
  from: ShardIndex | string,
  sources: Map<string, ByteSource>,
): Promise<Map<string, PlacedEntry>> {
  const index = typeof from === "string" ? null : from;
  const files = typeof from === "string" ? [from] : [...new Set(from.weightMap.values())];
  for (const file of files) {
    if (!index || (await folder.has(file))) continue;
    throw new WeightsError(`${folder.name}: the shard ${file}, named by ${INDEX}, is missing; download it again`);
  }
  const tensors = new Map<string, PlacedEntry>();
  for (const file of files) {
    const source = await folder.open(file);
    sources.set(file, source);
    for (const [name, entry] of (await readHeader(source)).tensors) {
      const mapped = index ? index.weightMap.get(name) : file;
      if (mapped !== file) {
        const claim = mapped === undefined ? "does not name it" : `puts it into ${mapped}`;
        throw new WeightsError(`${source.name}: holds the tensor ${shown(name)}, and ${INDEX} ${claim}`);
      }
      tensors.set(name, { ...entry, file });
    }
  }
  if (index) checkIndex(folder, index, tensors);
  return tensors;
}

/** What the headers could not show: names that no shard holds, and the size of all. */
function checkIndex(folder: Folder, index: ShardIndex, tensors: ReadonlyMap<string, PlacedEntry>): void {
  for (const [name, file] of index.weightMap) {
    if (tensors.has(name)) continue;
    throw new WeightsError(
      `${folder.name}: ${INDEX} puts the tensor ${shown(name)} into ${file}, which does not hold it`,
    );
  }
  if (index.totalSize === undefined) return;
  let total = 0;
  for (const { start, end } of tensors.values()) total += end - start;
  if (index.totalSize !== total) {
    const claim = `${folder.name}: ${INDEX} has total_size ${shown(index.totalSize)}`;
    throw new WeightsError(`${claim}, the tensors have ${total} bytes; index and shards do not belong together`);
  }
}
