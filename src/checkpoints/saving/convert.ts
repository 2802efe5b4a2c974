import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import "../../backends/backend.js";
import type { FloatDType } from "../../../weights/dtype.js";
import { modelFiles } from "../../../weights/model-files.js";
import type { Folder } from "../../../weights/byte-source.js";
import { openFolder } from "../../../weights/source.js";
import { parseConfig } from "../../model/config.js";
import { readConfigFile } from "../../loading/config-file.js";
import { expectedTensors } from "../../model/model.js";
import { HUB_KINDS, type HubOptions, type ModelProgress, placeOf, requirePlace } from "../../loading/resolve-model.js";
import { warn } from "../../base/notice.js";
import { openCheckpoint } from "../../loading/open-checkpoint.js";
import { checkOptions, type OptionKinds, requirePath, text } from "../../base/options.js";
import { type Read, requireApart } from "./require-apart.js";
import { isSavedFile, SAVE_KINDS, type SavedModel, saveModel, type SaveOptions } from "./save-model.js";
import { sideFiles } from "./side-files.js";

/** How a checkpoint is converted. */
export type ConvertOptions = HubOptions &
  Omit<SaveOptions, "onProgress"> & {
    /** Folder (path or URL) of the tokenizer, for weights that come without one. Default: that of the weights. */
    tokenizer?: string | undefined;
    onProgress?: ((progress: ModelProgress) => void) | undefined;
  };

const CONVERT_KINDS: OptionKinds<ConvertOptions> = { ...HUB_KINDS, ...SAVE_KINDS, tokenizer: text };

/**
 * Writes a checkpoint in whatever form (`PaliGemma.load`) as a Hugging Face folder, from bytes to bytes: nothing is
 * loaded onto a backend, and one tensor at a time is in memory. Quantised weights are written unpacked. Every tensor is
 * checked before the first is written. Throws `InputError` where a file of the checkpoint or the tokenizer would be
 * replaced, as `saveModel` does, and as loading the checkpoint would.
 */
export async function convertCheckpoint(
  input: string,
  output: string,
  asked: ConvertOptions = {},
): Promise<SavedModel> {
  const { tokenizer, onProgress, ...options } = checkOptions("convertCheckpoint", asked, CONVERT_KINDS);
  requirePlace("convertCheckpoint", input);
  requirePath("convertCheckpoint", output);
  await tf.ready(); // the layers that name the tensors are made on whatever backend there is
  const { signal, revision, token, onNotice, ...saving } = options;
  const folder = await openFolder(await placeOf(input, { revision, token, onNotice, signal, onProgress }), signal);
  const words: Folder = tokenizer === undefined ? folder : await openFolder(tokenizer, signal);
  await requireApart(
    [{ name: "output", path: output, holds: isSavedFile }],
    await Promise.all([folder, words].map(readOf)),
  );
  const original = await readConfigFile(folder);
  const written = parseConfig(original.json, original.where);
  const { checkpoint, config } = await openCheckpoint(folder, written);
  try {
    const expected = expectedTensors(config);
    checkpoint.check(expected);
    checkpoint.notices.forEach(options.onNotice ?? warn);
    const tensors = [...expected.keys()].map((name) => {
      const { dtype, shape } = checkpoint.entries.get(name)!;
      return { name, dtype: dtype as FloatDType, shape, pieces: () => checkpoint.pieces(name) };
    });
    const model = { config, original, files: await sideFiles(config, folder, words), tensors };
    const report =
      onProgress &&
      ((progress: { loadedBytes: number; totalBytes: number }) => onProgress({ phase: "load", ...progress }));
    return await saveModel(model, output, { ...saving, signal, onProgress: report });
  } finally {
    await checkpoint.close();
  }
}

/** The files of a folder on disk; of one behind an address there are none that could be replaced. */
async function readOf(folder: Folder): Promise<Read> {
  const { name, localPath } = folder;
  const files = localPath === null ? [] : await modelFiles(folder);
  return { name: `of ${name}`, files: files.map((file) => path.join(localPath!, file)) };
}
