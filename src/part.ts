import type * as tf from "@tensorflow/tfjs";

import { type CheckpointLayer, symbolic } from "../layers/checkpoint-layer.js";
import type { Weight } from "../layers/weight.js";

/** A layer of the model, the checkpoint path below which all its tensors lie, and the shapes it is built for. */
export type Part = { path: string; layer: CheckpointLayer; inputShapes: tf.Shape[] };

/** Every weight of the part, once it is built, by its name in the checkpoint. */
export function namedWeights({ path, layer }: Part): [name: string, weight: Weight][] {
  return layer.namedWeights().map(([name, weight]) => [`${path}.${name}`, weight]);
}

/** Creates the part's weights (read from its scope, or random) without computing anything. */
export function buildPart({ layer, inputShapes }: Part): void {
  layer.apply(symbolic(inputShapes));
}
