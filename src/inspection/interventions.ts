import * as tf from "@tensorflow/tfjs";

import type { ModelInputs } from "../model/inputs.js";
import { anything, checkOptions, list, listed, oneOf, type OptionKinds } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import type { Edit } from "../hooks/edit.js";
import type { HookFilter } from "../hooks/hook-filter.js";
import type { Positions } from "../hooks/positions.js";

/** A half-open range of blocks; default all. */
export type LayerRange = readonly [from: number, to: number];

/**
 * A glob over the names of blocks in a range. Throws nothing: a range that holds no block matches nothing, which
 * running says.
 */
const blocks = (layers: LayerRange | undefined): string => {
  if (layers === undefined) return "*";
  const numbers = Array.from({ length: Math.max(0, layers[1] - layers[0]) }, (_, i) => layers[0] + i);
  return numbers.length === 1 ? String(numbers[0]) : `{${numbers.join(",")}}`;
};

/**
 * The keys and the queries between which attention is closed, in a range of the decoder's blocks (default all), for all
 * heads or some.
 */
export type Edge = {
  from: Positions;
  to: Positions;
  layers?: LayerRange | undefined;
  heads?: readonly number[] | undefined;
};

const EDGE_KINDS: OptionKinds<Edge> = { from: anything, to: anything, layers: list, heads: list };

/** The tower of a block (default "language"), and what stands in for what is taken out (default zero). */
export type AblationOptions = { tower?: "language" | "vision" | undefined; mean?: Edit["value"] };

const ABLATION_KINDS: OptionKinds<AblationOptions> = { tower: oneOf("language", "vision"), mean: anything };

/**
 * Closes the way from the keys `from` to the queries `to` in a range of the decoder's blocks, for all heads or some.
 */
export function knockOut(edge: Edge): Edit {
  const { from, to, layers, heads } = checkOptions("knockOut", edge, EDGE_KINDS);
  return {
    hook: `language.blocks.${blocks(layers)}.attn.hook_attn_scores`,
    op: "close",
    positions: to,
    keys: from,
    ...(heads && { heads }),
  };
}

/** Takes heads of one block out: their weighted values become zero, or `mean` [H] or [heads, H]. */
export function ablateHeads(layer: number, heads: readonly number[], options: AblationOptions = {}): Edit {
  const { tower = "language", mean } = checkOptions("ablateHeads", options, ABLATION_KINDS);
  return replaced(`${tower}.blocks.${layer}.attn.hook_z`, { heads }, mean);
}

/** Takes neurons of one block's MLP out: they become zero, or their `mean` [neurons]. */
export function ablateNeurons(layer: number, units: readonly number[], options: AblationOptions = {}): Edit {
  const { tower = "language", mean } = checkOptions("ablateNeurons", options, ABLATION_KINDS);
  return replaced(`${tower}.blocks.${layer}.mlp.hook_post`, { units }, mean);
}

const replaced = (hook: string, part: Pick<Edit, "heads" | "units">, mean: Edit["value"] | undefined): Edit =>
  mean === undefined ? { hook, op: "suppress", ...part } : { hook, op: "set", value: mean, ...part };

/**
 * The mean of activations over the rows and positions of a set of questions, or of one, by name: what stands in for
 * them in a mean ablation. Shapes lose their first two axes ([N, H] of hook_z, [D] of a stream). The caller disposes
 * the tensors.
 */
export async function meanActivations(
  model: PaliGemma,
  questions: Question | ModelInputs | readonly (Question | ModelInputs)[],
  request: { hooks: HookFilter; positions?: Positions | undefined },
): Promise<Map<string, tf.Tensor>> {
  const { hooks, positions } = checkOptions("meanActivations", request, { hooks: anything, positions: anything });
  const sums = new Map<string, { sum: tf.Tensor; count: number }>();
  try {
    for (const question of listed(questions)) {
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
  } catch (error) {
    for (const { sum } of sums.values()) sum.dispose();
    throw error;
  }
  return new Map(
    [...sums].map(([name, { sum, count }]) => {
      const mean = sum.div(count);
      sum.dispose();
      return [name, mean];
    }),
  );
}
