import type { Checkpoint } from "../../weights/checkpoint.js";
import { type CheckpointOptions } from "../../weights/checkpoint.js";
import { openWeights } from "../../weights/open-weights.js";
import type { Folder } from "../../weights/byte-source.js";
import type { PaliGemmaConfig } from "../model/config.js";

/**
 * Opens the weights of a folder for a config, and says in the config what their output head is: where both tensors are
 * there and differ the model has a head of its own, whatever `written` says. The caller closes the checkpoint. Throws
 * as `Checkpoint.open` does.
 */
export async function openCheckpoint(
  folder: Folder,
  written: PaliGemmaConfig,
  options: Omit<CheckpointOptions, "tied"> = {},
): Promise<{ checkpoint: Checkpoint; config: PaliGemmaConfig }> {
  const checkpoint = await openWeights(folder, { ...options, tied: written.text.tieWordEmbeddings });
  const text = { ...written.text, tieWordEmbeddings: checkpoint.head !== "own" };
  return { checkpoint, config: { ...written, text } };
}
