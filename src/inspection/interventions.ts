import * as tf from "@tensorflow/tfjs";

import type { ModelInputs } from "../inputs.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../questions/question.js";
import type { Edit } from "./edit.js";
import type { HookFilter } from "./hook-filter.js";
import type { Positions } from "./positions.js";

/** A half-open range of blocks; default all. */
export type LayerRange = readonly [from: number, to: number];

/** A glob over the names of blocks in a range. Throws nothing: a range that holds no block matches nothing, which running says. */
const blocks = (layers: LayerRange | undefined): string => {
  if (layers === undefined) return "*";
  const numbers = Array.from({ length: Math.max(0, layers[1] - layers[0]) }, (_, i) => layers[0] + i);
  return numbers.length === 1 ? String(numbers[0]) : `{${numbers.join(",")}}`;
};

/** Closes the way from the keys `from` to the queries `to` in a range of the decoder's blocks, for all heads or some. */
export function knockOut(edge: {
  from: Positions;
  to: Positions;
  layers?: LayerRange | undefined;
  heads?: readonly number[] | undefined;
}): Edit {
  const { from, to, layers, heads } = edge;
  return {
    hook: `language.blocks.${blocks(layers)}.attn.hook_attn_scores`,
    op: "close",
    positions: to,
    keys: from,
    ...(heads && { heads }),
  };
}

/** Takes heads of one block out: their weighted values become zero, or `mean` [H] or [heads, H]. */
export function ablateHeads(
  layer: number,
  heads: readonly number[],
  { tower = "language", mean }: { tower?: "language" | "vision"; mean?: Edit["value"] } = {},
): Edit {
  return replaced(`${tower}.blocks.${layer}.attn.hook_z`, { heads }, mean);
}

/** Takes neurons of one block's MLP out: they become zero, or their `mean` [neurons]. */
export function ablateNeurons(
  layer: number,
  units: readonly number[],
  { tower = "language", mean }: { tower?: "language" | "vision"; mean?: Edit["value"] } = {},
): Edit {
  return replaced(`${tower}.blocks.${layer}.mlp.hook_post`, { units }, mean);
}

const replaced = (hook: string, part: Pick<Edit, "heads" | "units">, mean: Edit["value"] | undefined): Edit =>
  mean === undefined ? { hook, op: "suppress", ...part } : { hook, op: "set", value: mean, ...part };

/**
 * The mean of activations over the rows and positions of a set of questions, by name: what stands in for them in a mean
 * ablation. Shapes lose their first two axes ([N, H] of hook_z, [D] of a stream). The caller disposes the tensors.
 */
export async function meanActivations(
  model: PaliGemma,
  questions: readonly (Question | ModelInputs)[],
  { hooks, positions }: { hooks: HookFilter; positions?: Positions },
): Promise<Map<string, tf.Tensor>> {
  const sums = new Map<string, { sum: tf.Tensor; count: number }>();
  for (const question of questions) {
    const { cache } = await model.runWithCache(question, { hooks, positions, stopAt: "needed" });
    for (const [name, value] of cache.entries()) {
      const earlier = sums.get(name);
      const rows = value.shape[0]! * value.shape[1]!;
      const sum = tf.tidy(() => {
        const own = value.sum([0, 1]);
        return earlier ? earlier.sum.add(own) : own;
      });
      earlier?.sum.dispose();
      sums.set(name, { sum, count: (earlier?.count ?? 0) + rows });
    }
    cache.dispose();
  }
  return new Map(
    [...sums].map(([name, { sum, count }]) => {
      const mean = sum.div(count);
      sum.dispose();
      return [name, mean];
    }),
  );
}
