import type { Folder } from "../../weights/source.js";

/** The files that a model needs besides its weights. */
const FILES = [
  "config.json",
  "tokenizer.model",
  "tokenizer.json",
  "tokenizer_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "generation_config.json",
] as const;

/** Which files are there, and what is missing for loading: one tokenizer is enough. */
export type FilesFound = { found: string[]; missing: string[] };

/** Looks for the files of a model folder; nothing is read. */
export async function filesOf(folder: Folder): Promise<FilesFound> {
  const found: string[] = [];
  for (const file of FILES) if (await folder.has(file)) found.push(file);
  const oneOf = (...names: string[]) => (names.some((name) => found.includes(name)) ? [] : [names.join(" or ")]);
  return { found, missing: [...oneOf("config.json"), ...oneOf("tokenizer.model", "tokenizer.json")] };
}
