import type * as tf from "@tensorflow/tfjs";

import { type CheckpointLayer, symbolic } from "../layers/checkpoint-layer.js";

/** A layer of the model, the checkpoint path below which all its tensors lie, and the shapes it is built for. */
export type Part = { path: string; layer: CheckpointLayer; inputShapes: tf.Shape[] };

/** Creates the part's weights (read from its scope, or random) without computing anything. */
export function buildPart({ layer, inputShapes }: Part): void {
  layer.apply(symbolic(inputShapes));
}
