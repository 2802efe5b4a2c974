import * as tf from "@tensorflow/tfjs";

import { heldDtype } from "./stored.js";
import { runKernels } from "./kernel.js";
import type { Linear } from "./linear.js";

/** The projections to queries, keys and values: weights [heads · H, D], all with a bias or none. */
export type HeadProjections = readonly [q: Linear, k: Linear, v: Linear];

/** What comes of them, each [B, T, heads, H]. */
export type Heads = [q: tf.Tensor, k: tf.Tensor, v: tf.Tensor];

/**
 * Queries, keys and values of `x` [B, T, D], each x·Wᵀ + b cut into heads of `headDim`. A kernel computes them at once
 * where the weights are held alike, with the bits that each has alone. `coarse` as in `Linear`. The caller owns the
 * results.
 */
export function projectHeads(
  x: tf.Tensor,
  projections: HeadProjections,
  { headDim, coarse = false }: { headDim: number; coarse?: boolean | undefined },
): Heads {
  const weights = projections.map(({ weight }) => weight);
  const [q, k, v] = weights.map((weight) => weight.read()) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const alike = [k, v].every((weight) => heldDtype(weight) === heldDtype(q));
  if (alike && !weights.some(({ adapted }) => adapted)) {
    const [qBias, kBias, vBias] = projections.map(({ bias }) => bias?.read());
    const attributes = { headDim, coarse: coarse ? 1 : 0 };
    const together =
      qBias && kBias && vBias
        ? runKernels("PaligemmaHeadsBias", { x, q, k, v, qBias, kBias, vBias }, attributes)
        : runKernels("PaligemmaHeads", { x, q, k, v }, attributes);
    if (together) return together as Heads;
  }
  const shape = [...x.shape.slice(0, -1), -1, headDim];
  return tf.tidy(() => projections.map((one) => (one.apply(x) as tf.Tensor).reshape(shape)) as Heads);
}
