import { WeightsError } from "./errors.js";
import { holdsBigVision } from "./npz-files.js";
import { INDEX, SINGLE } from "./shard-index.js";
import type { Folder } from "./byte-source.js";

/** A Keras preset's weights in one file. */
export const KERAS_SINGLE = "model.weights.h5";
/** The index of a Keras preset in several files. */
export const KERAS_INDEX = "model.weights.json";
/**
 * Its vocabulary, a SentencePiece model. Source: keras-hub 0.32, tokenizers/sentence_piece_tokenizer.py and
 * utils/preset_utils.py.
 */
export const KERAS_VOCABULARY = "assets/tokenizer/vocabulary.spm";

/** What a folder may have its weights in, for messages that say what was looked for. */
export const FORMS_READ = `${SINGLE} or ${INDEX}, a Keras preset's ${KERAS_SINGLE} or ${KERAS_INDEX}, or an archive of big_vision (*.npz)`;

/** Most archives of a repository on the Hub that are looked into, a few requests each: more than these are data. */
const MAX_REMOTE_ARCHIVES = 32;

/** In which form a folder has its weights: Hugging Face's, an archive of big_vision, a preset of keras-hub. */
export type WeightForm = "safetensors" | "big_vision" | "keras";

/**
 * The weights of a folder: their form, and the one file that they are read from, or null where the usual names of the
 * form are.
 */
export type FoundWeights = { form: WeightForm; file: string | null };

/**
 * Which weights of a folder are read: the file that was asked for by its name, else the first that is there of
 * safetensors, a Keras preset, and (where it can be listed) the one PaliGemma among its .npz files. Null where there is
 * none. Throws `WeightsError` for several such archives, and for a repository on the Hub with more than 32 archives of
 * any kind.
 */
export async function findWeights(folder: Folder): Promise<FoundWeights | null> {
  if (folder.weightFile !== undefined) return { form: formOf(folder.weightFile), file: folder.weightFile };
  if ((await folder.has(INDEX)) || (await folder.has(SINGLE))) return { form: "safetensors", file: null };
  for (const file of [KERAS_SINGLE, KERAS_INDEX]) if (await folder.has(file)) return { form: "keras", file };
  const archives = await bigVisionArchives(folder);
  if (archives.length > 1) {
    throw new WeightsError(`${folder.name}: holds several models, ${some(archives)}; ${whichOne(folder, archives[0])}`);
  }
  return archives.length === 1 ? { form: "big_vision", file: archives[0] } : null;
}

const some = (files: readonly string[]): string => files.slice(0, 8).join(", ");
/** How one file of several is asked for. */
const whichOne = ({ hub }: Folder, file: string): string =>
  hub
    ? `give the address of one of the files, as in ${hub.addressOf(file)}, or download it and give its path`
    : "give the path of one of the files";

const formOf = (file: string): WeightForm =>
  file.endsWith(".npz") ? "big_vision" : file.endsWith(".safetensors") ? "safetensors" : "keras";

/** A folder may hold other archives, such as the weights of masks: what counts is the token table. */
async function bigVisionArchives(folder: Folder): Promise<string[]> {
  const archives = ((await folder.list?.()) ?? []).filter((file) => file.endsWith(".npz"));
  if (folder.hub && archives.length > MAX_REMOTE_ARCHIVES) {
    const many = `${folder.name}: holds ${archives.length} archives, ${some(archives)} and so on`;
    throw new WeightsError(`${many}; ${whichOne(folder, archives[0])}`);
  }
  const found: string[] = [];
  for (const file of archives) if ((await folder.has(file)) && (await holdsBigVision(folder, file))) found.push(file);
  return found;
}
