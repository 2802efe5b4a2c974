import { KERAS_VOCABULARY, type WeightForm } from "../../../weights/find-weights.js";
import type { Folder } from "../../../weights/byte-source.js";

const CONFIG = "config.json";
const TOKENIZER_MODEL = "tokenizer.model";
/** Files that are read where they are there, besides weights and tokenizer. */
const OTHERS = ["preprocessor_config.json", "processor_config.json", "generation_config.json"];

/** Which files are there beside the weights, and what is missing for loading: one tokenizer is enough. */
export type FilesFound = { found: string[]; missing: string[] };

/**
 * Looks for the files of a model folder whose weights are of `form`; nothing is read. An archive of big_vision that
 * could be opened needs no config.
 */
export async function filesOf(folder: Folder, form: WeightForm): Promise<FilesFound> {
  // A preset's tokenizer.json describes a layer; its vocabulary is the tokenizer.
  const ofPreset = !(await folder.has(TOKENIZER_MODEL)) && (form === "keras" || (await folder.has(KERAS_VOCABULARY)));
  const tokenizers = ofPreset ? [KERAS_VOCABULARY, TOKENIZER_MODEL] : [TOKENIZER_MODEL, "tokenizer.json"];
  const files = [CONFIG, ...tokenizers, ...(ofPreset ? [] : ["tokenizer_config.json"]), ...OTHERS];
  const found: string[] = [];
  for (const file of files) if (await folder.has(file)) found.push(file);
  const oneOf = (...names: string[]) => (names.some((name) => found.includes(name)) ? [] : [names.join(" or ")]);
  return { found, missing: [...(form === "big_vision" ? [] : oneOf(CONFIG)), ...oneOf(...tokenizers)] };
}
