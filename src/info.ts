import * as tf from "@tensorflow/tfjs";

import "./backend.js";
import { Checkpoint } from "../weights/checkpoint.js";
import { describeVariant, type PaliGemmaConfig } from "./config.js";
import { expectedTensors } from "./model.js";
import { loadConfig } from "./load-network.js";
import { type HubOptions, openPlace } from "./model-place.js";

/** A checkpoint in numbers, read from its config and its headers alone. */
export type CheckpointInfo = {
  variant: string;
  config: PaliGemmaConfig;
  /** Numbers in all tensors that the model reads, in all and by part. */
  parameters: { total: number; vision: number; projector: number; language: number };
  /** Bytes on disk by stored type, "BF16" and so on, or packed form, "nf4" and so on. */
  bytesByForm: Record<string, number>;
};

/**
 * Looks a model folder over without reading its weights; a model on the Hub is not downloaded. Throws as `PaliGemma.load` does when
 * the folder is unusable.
 */
export async function checkpointInfo(model: string, options: HubOptions = {}): Promise<CheckpointInfo> {
  await tf.ready(); // the layers that name the tensors are made on whatever backend there is
  const folder = await openPlace(model, options);
  const config = await loadConfig(folder);
  const checkpoint = await Checkpoint.open(folder);
  try {
    const expected = expectedTensors(config);
    checkpoint.check(expected);
    const count = (root: string) =>
      [...expected]
        .filter(([name]) => name.startsWith(root))
        .reduce((sum, [, shape]) => sum + shape.reduce((product, size) => product * size, 1), 0);
    return {
      variant: describeVariant(config),
      config,
      parameters: {
        total: count(""),
        vision: count("vision_tower."),
        projector: count("multi_modal_projector."),
        language: count("language_model."),
      },
      bytesByForm: Object.fromEntries(checkpoint.bytesByForm),
    };
  } finally {
    await checkpoint.close();
  }
}
