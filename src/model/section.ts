import type * as tf from "@tensorflow/tfjs";

import { type CheckpointLayer, symbolic } from "../../layers/checkpoint-layer.js";
import { isPresent } from "../../layers/present.js";
import type { Weight } from "../../layers/weight.js";

/** A layer of the model, the checkpoint path below which all its tensors lie, and the shapes it is built for. */
export type Part = { path: string; layer: CheckpointLayer; inputShapes: tf.Shape[] };

/** Every weight of the part, once it is built, by its name in the checkpoint. */
export function namedWeights({ path, layer }: Part): [name: string, weight: Weight][] {
  return layer.namedWeights().map(([name, weight]) => [`${path}.${name}`, weight]);
}

/** Whether a layer still has its weights, which are all disposed at once or not at all. */
export const hasWeights = ({ weights }: tf.layers.Layer): boolean => weights.length === 0 || isPresent(weights[0]!);

/** Creates the part's weights (read from its scope, or random) without computing anything. */
export function buildPart({ layer, inputShapes }: Part): void {
  layer.apply(symbolic(inputShapes));
}
