import type { WeightFiles } from "./checkpoint-entry.js";
import { WeightsError } from "./errors.js";
import { FORMS_READ, findWeights } from "./find-weights.js";
import { openKeras } from "./keras-files.js";
import { openBigVision } from "./npz-files.js";
import { openSafetensors } from "./safetensors-files.js";
import type { Folder } from "./byte-source.js";

/** Weight files of other formats, by their endings and by the names that a folder behind a URL can be asked for. */
const OTHER_ENDINGS = /\.(bin|npz|h5|msgpack|gguf|pt|pth|ckpt|safetensors)$/;
const OTHER_NAMES = ["pytorch_model.bin", "pytorch_model.bin.index.json", "flax_model.msgpack"];
/** Names that the error lists. */
const LISTED = 20;

/**
 * Opens the weights of a folder in the form that it has them (`findWeights`). Throws `WeightsError` that says what
 * there is where none is read, and as the reader of the form does.
 */
export async function openWeightFiles(folder: Folder): Promise<WeightFiles> {
  const found = await findWeights(folder);
  if (found === null) throw new WeightsError(await nothingFound(folder));
  if (found.form === "big_vision") return openBigVision(folder, found.file!);
  if (found.form === "keras") return openKeras(folder, found.file!);
  return openSafetensors(folder, found.file);
}

async function nothingFound(folder: Folder): Promise<string> {
  const found: string[] = [];
  if (folder.list) found.push(...(await folder.list()).filter((file) => OTHER_ENDINGS.test(file)));
  else for (const file of OTHER_NAMES) if (await folder.has(file)) found.push(file);
  const looked = `${folder.name}: found no weights in a form that is read (${FORMS_READ})`;
  if (found.length === 0) return `${looked}; give the folder of a checkpoint, or its weight file`;
  const some = found.length > LISTED ? [...found.slice(0, LISTED), `and ${found.length - LISTED} more`] : found;
  return `${looked}, only ${some.join(", ")}, which is not read; save the model in one of these`;
}
