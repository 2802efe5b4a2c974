import * as tf from "@tensorflow/tfjs";

import type { Folder } from "../../weights/byte-source.js";
import { type PaliGemmaConfig, parseConfig } from "../model/config.js";
import { readConfigFile } from "./config-file.js";
import { warn } from "../base/notice.js";
import { openCheckpoint } from "./open-checkpoint.js";
import { type DtypeChoice, weightHolder } from "../backends/dtypes.js";
import { requireMemory } from "../backends/memory.js";
import { expectedTensors, PaliGemmaModel } from "../model/model.js";
import { abortSignal, callback, checkOptions, type OptionKinds, text } from "../base/options.js";
import { buildPart } from "../model/section.js";
import { hf5, type Settings } from "../model/settings.js";
import { whenIdle } from "../model/turns.js";
import { switchBackend } from "../model/switch-backend.js";

/** Bytes of weights read so far, and in all. */
export type LoadProgress = { loadedBytes: number; totalBytes: number };

/** Where the weights go, who hears of progress, and who may stop it. */
export type NetworkLoadOptions = {
  /** A backend that runs already; default the current one. */
  backend?: string | undefined;
  /** The type that matrices are held in, where the backend holds any but float32; default: as stored. */
  dtype?: DtypeChoice | undefined;
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Hears what a user should know of the files. Default: a warning of the process. */
  onNotice?: ((text: string) => void) | undefined;
  signal?: AbortSignal | undefined;
};

const NETWORK_KINDS: OptionKinds<NetworkLoadOptions> = {
  backend: text,
  dtype: text,
  onProgress: callback,
  onNotice: callback,
  signal: abortSignal,
};

/** The typed config of a model folder. Throws `ConfigError` when there is none or it does not describe a PaliGemma. */
export async function loadConfig(folder: Folder): Promise<PaliGemmaConfig> {
  const { json, where } = await readConfigFile(folder);
  return parseConfig(json, where);
}

/**
 * The network of a model folder. Names and shapes are compared before a byte of weights is read; then it goes part by
 * part, so that one part at most is held twice. The caller disposes the network, whose config says what the output head
 * is in these files. Throws `WeightsError` for files that lie or do not fit, and the signal's reason when aborted.
 */
export async function loadNetwork(
  folder: Folder,
  written: PaliGemmaConfig,
  settings: Settings = hf5,
  options: NetworkLoadOptions = {},
): Promise<PaliGemmaModel> {
  const checked = checkOptions("loadNetwork", options, NETWORK_KINDS);
  const { backend = tf.getBackend(), dtype = "auto", onProgress, onNotice = warn, signal } = checked;
  switchBackend(backend);
  const { checkpoint, config } = await openCheckpoint(folder, written, { holder: weightHolder(backend, dtype) });
  let network: PaliGemmaModel | null = null;
  try {
    switchBackend(backend);
    network = new PaliGemmaModel(config, settings, checkpoint);
    checkpoint.check(expectedTensors(config));
    checkpoint.notices.forEach(onNotice);
    requireMemory(checkpoint, { backend, dtype, folder: folder.name });
    let loadedBytes = 0;
    for (const part of network.parts) {
      signal?.throwIfAborted();
      await checkpoint.stage(part.path, (bytes) => {
        loadedBytes += bytes;
        onProgress?.({ loadedBytes, totalBytes: checkpoint.totalBytes });
      });
      switchBackend(backend);
      buildPart(part);
    }
    await whenIdle();
    network.guard(checkpoint.requireIntact);
    network.ready();
    return network;
  } catch (error) {
    network?.dispose();
    throw error;
  } finally {
    await checkpoint.close();
  }
}
