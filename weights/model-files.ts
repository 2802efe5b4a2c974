import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "./adapter/adapter-file.js";
import { findWeights, KERAS_INDEX, KERAS_SINGLE, KERAS_VOCABULARY } from "./find-weights.js";
import { INDEX, SINGLE } from "./shard-index.js";
import type { Folder } from "./byte-source.js";
import { weightFileNames } from "./weight-file-names.js";

/** Files beside the weights that a model or an adapter is made of; those of tokenizers are apart. */
export const SMALL_FILES: readonly string[] = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "vae-oid.npz",
  "vae-oid.safetensors",
  "vae.safetensors",
  ADAPTER_CONFIG,
];
export const TOKENIZER_MODEL = "tokenizer.model";
export const TOKENIZER_FILES: readonly string[] = [
  TOKENIZER_MODEL,
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
];

/** Where weights may be that no name of a folder leads to. */
const USUAL_WEIGHTS = [INDEX, SINGLE, KERAS_SINGLE, KERAS_INDEX, KERAS_VOCABULARY, ADAPTER_WEIGHTS];

/**
 * Names of the files in a folder that a model, its tokenizer, its masks or an adapter are read from, or would be:
 * weights in every form, as an index names them. Never throws for weights that are not what they should be: the files
 * of a damaged model are listed as far as their names are known.
 */
export async function modelFiles(folder: Folder): Promise<string[]> {
  const names = new Set([...SMALL_FILES, ...TOKENIZER_FILES, ...USUAL_WEIGHTS]);
  if (folder.weightFile !== undefined) names.add(folder.weightFile);
  const found = await findWeights(folder).catch(() => null);
  for (const file of found ? await weightFileNames(folder, found).catch(() => []) : []) names.add(file);
  const there: string[] = [];
  for (const name of names) if (await folder.has(name).catch(() => false)) there.push(name);
  return there;
}
