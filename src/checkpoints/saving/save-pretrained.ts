import { openFolder } from "../../../weights/source.js";
import { readConfigFile } from "../../loading/config-file.js";
import { InputError } from "../../base/errors.js";
import { PaliGemmaModel } from "../../model/model.js";
import { checkOptions, described, requirePath } from "../../base/options.js";
import { PaliGemma } from "../../paligemma.js";
import { networkTensors } from "./network-tensors.js";
import { SAVE_KINDS, type SavedModel, saveModel, type SaveOptions } from "./save-model.js";
import { sideFiles } from "./side-files.js";

/**
 * Writes a loaded model as a Hugging Face folder that transformers and this project load: config.json with the fields
 * of the one that it came with, weights in one file or shards with an index, and the files of its tokenizer and
 * processor. A network alone has no tokenizer to copy. Merged adapters are part of the weights. Throws `InputError`
 * while adapters are active and not merged, and as `saveModel` and `networkTensors` do.
 */
export async function savePretrained(
  model: PaliGemma | PaliGemmaModel,
  folder: string,
  options: SaveOptions = {},
): Promise<SavedModel> {
  checkOptions("savePretrained", options, SAVE_KINDS);
  requirePath("savePretrained", folder);
  if (!(model instanceof PaliGemma) && !(model instanceof PaliGemmaModel)) {
    throw new InputError(`savePretrained: expected a PaliGemma or a PaliGemmaModel, received ${described(model)}`);
  }
  networkOf(model).requireWeights();
  if (!(model instanceof PaliGemma)) {
    const files = await sideFiles(model.config, null, null);
    return saveModel({ original: null, files, ...networkTensors(model) }, folder, options);
  }
  const { network, origin } = model;
  const { tensors, config } = networkTensors(network);
  const source = await openFolder(origin.place, options.signal);
  const original = await readConfigFile(source);
  const files = await sideFiles(config, source, await openFolder(origin.tokenizer, options.signal));
  return saveModel({ config, original, files, tensors }, folder, options);
}

const networkOf = (model: PaliGemma | PaliGemmaModel): PaliGemmaModel =>
  model instanceof PaliGemma ? model.network : model;
