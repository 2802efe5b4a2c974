import type * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import { hookCatalogue, type HookPoint } from "../model/hook-catalogue.js";
import type { ModelInputs } from "../model/inputs.js";
import { abortSignal, anything, callback, checkOptions, list, oneOf, type OptionKinds, text } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import type { Edit } from "../hooks/edit.js";
import { checkIndices } from "../hooks/indices.js";
import { type Metric, measure } from "./metric.js";
import { type Pass, promptPass } from "../hooks/pass.js";
import type { Positions } from "../hooks/positions.js";
import { editedForward, runAndKeep } from "../hooks/run.js";
import { cut, select, type Selector } from "../hooks/selection.js";

/** What is swept, and where. */
export type PatchingSweep = {
  /** The leaf below `language.blocks.{layer}.`: "hook_resid_pre", "hook_attn_out", "mlp.hook_post", "attn.hook_z"... */
  leaf: string;
  /** Blocks of the decoder. Default: all. */
  layers?: readonly number[] | undefined;
  /**
   * A column for each selector ("image", 5, "3:7"). Default: a column for each position. With `by: "head"` they limit
   * every patch.
   */
  positions?: readonly Positions[] | undefined;
  /** A column for each position (default), or for each head of hook_z, hook_q, hook_k, hook_v or hook_pattern. */
  by?: "position" | "head" | undefined;
  /** Called after each patched run. */
  onProgress?: ((done: number, total: number) => void) | undefined;
  signal?: AbortSignal | undefined;
};

const SWEEP_KINDS: OptionKinds<PatchingSweep> = {
  leaf: text,
  layers: list,
  positions: list,
  by: oneOf("position", "head"),
  onProgress: callback,
  signal: abortSignal,
};

/** What patching found: the metric of the two runs, and of every patched one. */
export type PatchingResult = {
  leaf: string;
  by: "position" | "head";
  layers: number[];
  columns: (Positions | number)[];
  clean: number;
  corrupted: number;
  /** [layers][columns] */
  values: number[][];
};

/**
 * Activation patching: runs the corrupted question with one activation of the clean run put in its place, for each
 * block and position or head, and reports the metric. Both must have as many positions. A picture's rows are computed
 * once and not again for each patch. Throws `InputError` for unequal lengths or what cannot be swept.
 */
export async function activationPatching(
  model: PaliGemma,
  questions: { clean: Question | ModelInputs; corrupted: Question | ModelInputs },
  metric: Metric,
  sweep: PatchingSweep,
): Promise<PatchingResult> {
  checkOptions("questions", questions, { clean: anything, corrupted: anything });
  checkOptions("activationPatching", sweep, SWEEP_KINDS);
  return model.withInputs(questions.clean, (clean) =>
    model.withInputs(questions.corrupted, async (corrupted) => {
      const lengths = [clean, corrupted].map(({ inputIds }) => inputIds[0]!.length);
      if (lengths[0] !== lengths[1]) {
        throw new InputError(`patching: expected prompts of equal length, received ${lengths.join(" and ")} positions`);
      }
      if (!corrupted.pixelValues) return sweepOver(model, clean, corrupted, metric, sweep);
      const imageRows = model.network.encodeImages(corrupted.pixelValues);
      try {
        return await sweepOver(model, clean, { ...corrupted, pixelValues: null, imageRows }, metric, sweep);
      } finally {
        imageRows.dispose();
      }
    }),
  );
}

async function sweepOver(
  model: PaliGemma,
  clean: ModelInputs,
  corrupted: ModelInputs,
  metric: Metric,
  { leaf, layers: asked, positions, by = "position", onProgress, signal }: PatchingSweep,
): Promise<PatchingResult> {
  const layers = asked
    ? [...checkIndices("layers", asked, model.config.text.numHiddenLayers, "blocks")]
    : Array.from({ length: model.config.text.numHiddenLayers }, (_, i) => i);
  const name = (layer: number) => `language.blocks.${layer}.${leaf}`;
  const catalogue = new Map(hookCatalogue(model.config).map((point) => [point.name, point]));
  const pointOf = (hook: string) => catalogue.get(hook)!;
  const pass = promptPass(model.config, corrupted);
  const source = await runAndKeep(model.network, clean, { hooks: layers.map(name), signal });
  try {
    const run = async (edits: readonly Edit[]) => {
      signal?.throwIfAborted();
      const logits = await editedForward(model.network, corrupted, edits);
      return valueOf(metric, logits);
    };
    const [cleanValue, corruptedValue] = [await measure(metric, source.logits!), await run([])];
    const columns = columnsOf(source.cache.get(name(layers[0]!)), { leaf, by, positions });
    const values: number[][] = [];
    for (const [i, layer] of layers.entries()) {
      values.push([]);
      for (const [j, column] of columns.entries()) {
        const part = by === "head" ? { heads: [column as number], ...limited(positions) } : { positions: column };
        const value = partOf(source.cache.get(name(layer)), pointOf(name(layer)), part, pass);
        try {
          values[i]!.push(await run([{ hook: name(layer), op: "set", value, ...part }]));
        } finally {
          value.dispose();
        }
        onProgress?.(i * columns.length + j + 1, layers.length * columns.length);
      }
    }
    return { leaf, by, layers, columns, clean: cleanValue, corrupted: corruptedValue, values };
  } finally {
    source.cache.dispose();
    source.logits?.dispose();
  }
}

const limited = (positions: readonly Positions[] | undefined): Partial<Edit> =>
  positions === undefined ? {} : { positions: positions.flat() as Positions };

// What a part of an activation holds, as the value of an edit of that part; the caller disposes it.
function partOf(value: tf.Tensor, point: HookPoint, part: Selector, pass: Pass): tf.Tensor {
  const selection = select(point, part, pass);
  if (selection === null) throw new InputError(`patching: ${JSON.stringify(part)} means no position of this prompt`);
  return cut(value, selection, point.name);
}

function columnsOf(
  activation: tf.Tensor,
  { leaf, by, positions }: { leaf: string; by: "position" | "head"; positions: readonly Positions[] | undefined },
): (Positions | number)[] {
  const cells = /hook_(attn_scores|pattern)$/.test(leaf);
  if (by === "position") {
    const T = activation.shape[cells ? 2 : 1]!;
    return positions ? [...positions] : Array.from({ length: T }, (_, i) => i);
  }
  if (activation.rank !== 4) throw new InputError(`patching: ${leaf} has no heads; sweep it by position`);
  return Array.from({ length: activation.shape[cells ? 1 : 2]! }, (_, i) => i);
}

async function valueOf(metric: Metric, logits: tf.Tensor): Promise<number> {
  try {
    return await measure(metric, logits);
  } finally {
    logits.dispose();
  }
}
