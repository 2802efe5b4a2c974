import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../adapter/adapter-file.js";
import { WeightsError } from "../errors.js";
import { safeSegments } from "../file-name.js";
import {
  findWeights,
  FORMS_READ,
  type FoundWeights,
  KERAS_INDEX,
  KERAS_VOCABULARY,
  type WeightForm,
} from "../find-weights.js";
import { SMALL_FILES, TOKENIZER_FILES, TOKENIZER_MODEL } from "../model-files.js";
import { INDEX } from "../shard-index.js";
import type { Folder } from "../byte-source.js";
import type { HubFile } from "./listing.js";

/** Weight files of other formats, for the message: some of them hold programs, and none is read. */
const OTHER_WEIGHTS = /\.(bin|npz|h5|msgpack|gguf|pt|pth|ckpt|safetensors)$/;
/** How the weight files of each form end. */
const ENDINGS: Readonly<Record<WeightForm, string>> = { safetensors: ".safetensors", keras: ".h5", big_vision: ".npz" };

type Listing = ReadonlyMap<string, HubFile>;

/**
 * The weights that are read of a repository, chosen as `findWeights` does in a folder; null for an adapter that PEFT
 * has saved, where there is no model. Throws `WeightsError` for a repository that is neither, with what it holds, and
 * as `findWeights` does.
 */
export async function neededWeights(folder: Folder, listing: Listing): Promise<FoundWeights | null> {
  const found = await findWeights(folder);
  if (found === null) {
    if (listing.has(ADAPTER_WEIGHTS) && listing.has(ADAPTER_CONFIG)) return null;
    const others = [...listing.keys()].filter((path) => OTHER_WEIGHTS.test(path)).slice(0, 20);
    const only = others.length === 0 ? "none of any other" : `only ${others.join(", ")}, which is not read`;
    throw new WeightsError(`${folder.name}: has no weights in a form that is read (${FORMS_READ}), ${only}`);
  }
  if (found.form === "big_vision" || listing.has("config.json")) return found; // an archive's own shapes will do
  throw new WeightsError(`${folder.name}: has no config.json; this is no model that can be read`);
}

/** What is needed beside the weights, a preset's vocabulary in place of a tokenizer's files as loading takes it. */
export function smallFiles(listing: Listing): HubFile[] {
  const ofPreset = listing.has(KERAS_VOCABULARY) && !listing.has(TOKENIZER_MODEL);
  const paths = [...SMALL_FILES, ...(ofPreset ? [KERAS_VOCABULARY] : TOKENIZER_FILES)];
  return paths.flatMap((path) => listing.get(path) ?? []);
}

/** The file that says in which files the weights lie; null where one name says it. */
export function indexFile(listing: Listing, weights: FoundWeights | null): HubFile | null {
  const path = weights?.form === "safetensors" ? INDEX : weights?.file === KERAS_INDEX ? KERAS_INDEX : null;
  return path === null ? null : (listing.get(path) ?? null);
}

/**
 * The weight files of these names (null weights: the adapter's). Throws `WeightsError` for one that is not there, and
 * for a name that could leave the folder or is that of no such file: names come from an index.
 */
export function weightFiles(
  listing: Listing,
  weights: FoundWeights | null,
  names: readonly string[],
  where: string,
): HubFile[] {
  if (weights === null) return [listing.get(ADAPTER_WEIGHTS)!];
  const index = `${where}/${weights.file ?? INDEX}`;
  const ending = ENDINGS[weights.form];
  return names.map((path) => {
    safeSegments(index, path);
    if (!path.endsWith(ending)) {
      throw new WeightsError(`${index}: names ${JSON.stringify(path)}, expected a ${ending.slice(1)} file`);
    }
    const file = listing.get(path);
    if (!file) throw new WeightsError(`${index}: names ${path}, which the repository does not have`);
    return file;
  });
}
