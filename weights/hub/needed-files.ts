import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../adapter/adapter-file.js";
import { WeightsError } from "../errors.js";
import { safeSegments } from "../file-name.js";
import { INDEX, SINGLE } from "../shard-index.js";
import type { HubFile } from "./listing.js";

/** Files beside the weights that a model is made of, where the repository has them. */
const SMALL_FILES = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "tokenizer.model",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vae-oid.npz",
  "vae-oid.safetensors",
  "vae.safetensors",
  ADAPTER_CONFIG,
  INDEX,
];
/** Weight files of other formats, for the message: some of them hold programs, and none is read. */
const OTHER_WEIGHTS = /\.(bin|npz|h5|msgpack|gguf|pt|pth|ckpt|safetensors)$/;

type Listing = ReadonlyMap<string, HubFile>;

/** Whether a repository is of an adapter that PEFT has saved, and of no model. */
const isAdapter = (listing: Listing): boolean =>
  listing.has(ADAPTER_WEIGHTS) && listing.has(ADAPTER_CONFIG) && !listing.has(INDEX) && !listing.has(SINGLE);

/**
 * What a model, or an adapter, needs beside its weights. Throws `WeightsError` naming `where` for a repository that holds neither in
 * safetensors.
 */
export function smallFiles(listing: Listing, where: string): HubFile[] {
  if (isAdapter(listing)) return SMALL_FILES.flatMap((path) => listing.get(path) ?? []);
  if (!listing.has(INDEX) && !listing.has(SINGLE)) {
    const others = [...listing.keys()].filter((path) => OTHER_WEIGHTS.test(path)).slice(0, 20);
    const only = others.length === 0 ? "no weights" : `only ${others.join(", ")}, which is not read`;
    throw new WeightsError(`${where}: has neither ${INDEX} nor ${SINGLE}, ${only}`);
  }
  if (!listing.has("config.json"))
    throw new WeightsError(`${where}: has no config.json; this is no model that can be read`);
  return SMALL_FILES.flatMap((path) => listing.get(path) ?? []);
}

/**
 * The weight files: `shards` as the index names them, or the single file, or the adapter's, where there is no index (null). Throws `WeightsError`
 * for a shard that is not there, and for a name that could leave the folder or is no safetensors file.
 */
export function weightFiles(listing: Listing, shards: Iterable<string> | null, where: string): HubFile[] {
  const single = isAdapter(listing) ? ADAPTER_WEIGHTS : SINGLE;
  return [...new Set(shards ?? [single])].map((path) => {
    safeSegments(`${where}/${INDEX}`, path);
    if (!path.endsWith(".safetensors")) {
      throw new WeightsError(`${where}/${INDEX}: names ${JSON.stringify(path)}, expected a safetensors file`);
    }
    const file = listing.get(path);
    if (!file) throw new WeightsError(`${where}/${INDEX}: names ${path}, which the repository does not have`);
    return file;
  });
}
