import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../layers/tap.js";
import { InputError } from "../base/errors.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import { anything, callback, checkOptions, number, type OptionKinds, text } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import { requireTensor } from "../base/tensors.js";
import { ActivationCache } from "../hooks/activation-cache.js";
import type { HookFilter } from "../hooks/hook-filter.js";
import { derivatives } from "./derivatives.js";
import { requireFiniteNumbers } from "./finite-numbers.js";
import { type Metric, measure } from "./metric.js";
import { capturePoints, runAndKeep } from "../hooks/run.js";
import { requireWhole } from "../base/whole-number.js";

/** A metric, the activations of its run, and its derivative with respect to each. Dispose both caches. */
export type GradientRun = { value: number; activations: ActivationCache; gradients: ActivationCache };

/** Which activations a metric is differentiated with respect to. */
export type GradientRequest = { hooks: HookFilter; metric: Metric };

const GRADIENT_KINDS: OptionKinds<GradientRequest> = { hooks: anything, metric: callback };
const QUESTIONS_KINDS: OptionKinds<Questions> = { clean: anything, corrupted: anything };

type Questions = { clean: Question | ModelInputs; corrupted: Question | ModelInputs };

/**
 * d metric / d activation of every hook that the filter selects: zeros are added at each hook, and the metric is
 * differentiated with respect to them. While the gradient is recorded every product is the plain one in float32, and
 * JavaScript waits for it.
 */
export async function gradientsOf(
  model: PaliGemma,
  question: Question | ModelInputs,
  request: GradientRequest,
): Promise<GradientRun> {
  const { hooks, metric } = checkOptions("gradientsOf", request, GRADIENT_KINDS);
  return model.withInputs(question, async (inputs) => {
    const { cache: activations, logits } = await runAndKeep(model.network, inputs, { hooks });
    try {
      const value = await measure(metric, logits!);
      return { value, activations, gradients: differentiate(model.network, inputs, activations, metric) };
    } catch (error) {
      activations.dispose();
      throw error;
    } finally {
      logits!.dispose();
    }
  });
}

function differentiate(
  network: PaliGemmaModel,
  inputs: ModelInputs,
  activations: ActivationCache,
  metric: Metric,
): ActivationCache {
  const names = activations.names;
  const zeros = names.map((name) => tf.zerosLike(activations.get(name)));
  const gradients = new ActivationCache();
  try {
    tf.tidy(() => {
      const forward = (...deltas: tf.Tensor[]) => network.forward(inputs, { tap: adding(names, deltas) });
      const found = derivatives(metric, forward, zeros);
      const keep = gradients.capture(capturePoints(network, { hooks: names }));
      names.forEach((name, i) => keep(name, found[i]!));
    });
    return gradients;
  } catch (error) {
    gradients.dispose();
    throw error;
  } finally {
    tf.dispose(zeros);
  }
}

// A tap that adds a tensor to each of the named activations.
function adding(names: readonly string[], deltas: readonly tf.Tensor[]): Tap {
  const byName = new Map(names.map((name, i) => [name, deltas[i]!]));
  const add: Tap = (name, value) => {
    const delta = byName.get(name);
    return delta ? value.add(delta) : value;
  };
  return Object.assign(add, { wants: (name: string) => byName.has(name) });
}

/**
 * Attribution patching: what putting the clean activation into the corrupted run would change the metric by, to first
 * order, Σ (clean - corrupted) · d metric / d corrupted, summed over the last axis: [B, T] of a stream, [B, T, N] of a
 * head's values. The caller disposes the tensors.
 */
export async function attributionPatching(
  model: PaliGemma,
  questions: Questions,
  request: GradientRequest,
): Promise<Map<string, tf.Tensor>> {
  checkOptions("questions", questions, QUESTIONS_KINDS);
  const { hooks, metric } = checkOptions("attributionPatching", request, GRADIENT_KINDS);
  await requireEqualLengths(model, questions);
  const { activations, gradients } = await gradientsOf(model, questions.corrupted, { hooks, metric });
  try {
    const { cache: clean } = await model.runWithCache(questions.clean, { hooks, stopAt: "needed" });
    try {
      return new Map(
        activations.names.map((name) => [
          name,
          tf.tidy(() => clean.get(name).sub(activations.get(name)).mul(gradients.get(name)).sum(-1)),
        ]),
      );
    } finally {
      clean.dispose();
    }
  } finally {
    activations.dispose();
    gradients.dispose();
  }
}

async function requireEqualLengths(model: PaliGemma, { clean, corrupted }: Questions): Promise<void> {
  const lengths: number[] = [];
  for (const question of [clean, corrupted]) lengths.push((await model.describe(question)).tokens[0]!.length);
  if (lengths[0] === lengths[1]) return;
  throw new InputError(`patching: expected prompts of equal length, received ${lengths.join(" and ")} positions`);
}

// The tensor, which is disposed where it holds a number that is not finite.
async function finite(what: string, x: tf.Tensor): Promise<tf.Tensor> {
  try {
    await requireFiniteNumbers(what, x);
    return x;
  } catch (error) {
    x.dispose();
    throw error;
  }
}

/** Along which activation, in how many pieces (default 16) and from where (default zero) gradients are integrated. */
export type IntegratedGradientsRequest = {
  hook: string;
  metric: Metric;
  steps?: number | undefined;
  /** Of the activation's shape; it stays the caller's. */
  baseline?: tf.Tensor | undefined;
};

const INTEGRATED_KINDS: OptionKinds<IntegratedGradientsRequest> = {
  hook: text,
  metric: callback,
  steps: number,
  baseline: anything,
};

function requireBaseline(baseline: tf.Tensor, { shape }: tf.Tensor): void {
  requireTensor("baseline", baseline);
  if (baseline.shape.join() === shape.join()) return;
  throw new InputError(`baseline: expected [${shape.join(", ")}], received [${baseline.shape.join(", ")}]`);
}

/**
 * Integrated gradients of a metric along the straight way from a baseline to an activation, (x - baseline) · mean of
 * the gradients at the midpoints of `steps` pieces; its sum approaches metric(x) - metric(baseline). Shape of the
 * activation; the caller disposes it. Default baseline: zero.
 */
export async function integratedGradients(
  model: PaliGemma,
  question: Question | ModelInputs,
  request: IntegratedGradientsRequest,
): Promise<tf.Tensor> {
  const { hook, metric, steps = 16, baseline } = checkOptions("integratedGradients", request, INTEGRATED_KINDS);
  requireWhole("steps", steps, 1);
  return model.withInputs(question, async (inputs) => {
    const { cache } = await runAndKeep(model.network, inputs, { hooks: hook, stopAt: "needed" });
    const x = cache.get(hook);
    try {
      if (baseline) requireBaseline(baseline, x);
      const found = tf.tidy(() => {
        const from = baseline ?? tf.zerosLike(x);
        const along = (part: number) => {
          const point = from.add(x.sub(from).mul(part));
          const set: Tap = Object.assign((name: string, value: tf.Tensor) => (name === hook ? moving : value), {
            wants: (name: string) => name === hook,
          });
          let moving: tf.Tensor = point;
          const forward = (at: tf.Tensor) => {
            moving = at;
            return model.network.forward(inputs, { tap: set });
          };
          return derivatives(metric, forward, [point])[0]!;
        };
        const total = Array.from({ length: steps }, (_, i) => (i + 0.5) / steps).reduce<tf.Tensor>(
          (sum, part) => tf.tidy(() => sum.add(along(part))),
          tf.zerosLike(x),
        );
        return x.sub(from).mul(total.div(steps));
      });
      return await finite(`integrated gradients: expected finite numbers along ${hook}`, found);
    } finally {
      cache.dispose();
    }
  });
}

/** Which activation of patches is mapped (default "projector.hook_out"), and for which metric. */
export type GradientMapRequest = { hook?: string | undefined; metric: Metric };

const MAP_KINDS: OptionKinds<GradientMapRequest> = { hook: text, metric: callback };

/**
 * A map over patches in the manner of Grad-CAM, relu(Σ activation · gradient) over the last axis of
 * `projector.hook_out` or of a stream of the vision tower: [I, P]. The caller disposes it. Source: Selvaraju et al.
 * 2017, arXiv 1610.02391, with a sum over each patch's own gradient in place of a mean over the map.
 */
export async function gradientMap(
  model: PaliGemma,
  question: Question | ModelInputs,
  request: GradientMapRequest,
): Promise<tf.Tensor> {
  const { hook = "projector.hook_out", metric } = checkOptions("gradientMap", request, MAP_KINDS);
  const { activations, gradients } = await gradientsOf(model, question, { hooks: hook, metric });
  try {
    const sums = tf.tidy(() => activations.get(hook).mul(gradients.get(hook)).sum(-1));
    await finite(`gradient map: expected finite numbers at ${hook}`, sums); // relu makes zero of what is none
    const map = sums.relu();
    sums.dispose();
    return map;
  } finally {
    activations.dispose();
    gradients.dispose();
  }
}
