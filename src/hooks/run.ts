import type * as tf from "@tensorflow/tfjs";

import { inTurn, type Tap } from "../../layers/tap.js";
import { InputError } from "../base/errors.js";
import { hookCatalogue, type HookPoint } from "../model/hook-catalogue.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import { abortSignal, anything, checkOptions, described, number, type OptionKinds, text } from "../base/options.js";
import { ActivationCache, type Keeping, KEEPING_KINDS } from "./activation-cache.js";
import { type Intervention, namesOfInterventions, prepareInterventions } from "./edit-tap.js";
import { type HookFilter, selectEach } from "./hook-filter.js";
import { bytesNeeded, DEFAULT_BUDGET, requireBudget } from "./memory-needed.js";
import { type Pass, promptPass } from "./pass.js";
import { lastOf, type Reach, requireReach } from "./reach.js";
import { type KeptPart, nothingMeant, selectKept } from "./selection.js";

/** What is kept of a run: which activations, which part of each, and how. */
export type CaptureRequest = KeptPart &
  Keeping & {
    hooks: HookFilter;
    /** Most bytes that one pass may keep: a run that needs more is refused before it starts. Default 4 GiB. */
    budget?: number | undefined;
  };

/** What a run that keeps activations may be asked for. */
export type RunRequest = CaptureRequest & {
  /**
   * Ends the run behind that activation, or with "needed" behind the last one that is kept or that `edits` name; there
   * are no logits then.
   */
  stopAt?: string | undefined;
  /** Changes made on the way; what is kept is what they have made. */
  edits?: readonly Intervention[] | undefined;
  signal?: AbortSignal | undefined;
};

/** Of each of them; what selects something is checked where it selects. */
export const CAPTURE_KINDS: OptionKinds<CaptureRequest> = {
  hooks: anything,
  positions: anything,
  keys: anything,
  ...KEEPING_KINDS,
  budget: number,
};
export const RUN_KINDS: OptionKinds<RunRequest> = {
  ...CAPTURE_KINDS,
  stopAt: text,
  edits: anything,
  signal: abortSignal,
};

/**
 * The activations that a request names. Throws `InputError` where it names none, one that a run which reaches as far as
 * `reach` says does not show, or keys of none that has any.
 */
export function capturePoints(model: PaliGemmaModel, request: CaptureRequest, reach?: Reach): HookPoint[] {
  const catalogue = hookCatalogue(model.config);
  const each = selectEach(
    request.hooks,
    catalogue.map(({ name }) => name),
  );
  if (reach) {
    const asked = each.map((names) => ({ who: "hooks", names, all: false }));
    requireReach(asked, reach, model.config);
  }
  const names = new Set(each.flat());
  const points = catalogue.filter(({ name }) => names.has(name));
  if (request.keys !== undefined && !points.some(({ name }) => /hook_(attn_scores|pattern)$/.test(name))) {
    throw new InputError("keys: only hook_attn_scores and hook_pattern have keys, and none of them is asked for");
  }
  return points;
}

/** A tap that keeps the activations in `cache`. Throws `InputError` where this pass would keep more than the budget. */
export function captureTap(
  cache: ActivationCache,
  points: readonly HookPoint[],
  request: CaptureRequest,
  { pass, images }: { pass: Pass; images: number },
): Tap {
  const needed = points.map((point) => [point.name, bytesNeeded(point, request, pass, images, request)] as const);
  requireBudget(new Map(needed), request.budget ?? DEFAULT_BUDGET);
  return cache.capture(points, request, pass);
}

/** One forward pass that keeps activations. The caller owns the logits (null with `stopAt`) and the cache. */
export async function runAndKeep(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  request: RunRequest,
): Promise<{ logits: tf.Tensor | null; cache: ActivationCache }> {
  const { edits = [], device, dtype, signal } = checkOptions("runWithCache", request, RUN_KINDS);
  const pass = promptPass(model.config, inputs);
  const images = inputs.pixelValues?.shape[0] ?? 0;
  const stopAt = request.stopAt === "needed" ? lastNeeded(model, request) : request.stopAt;
  const stop = stopBehind(stopAt, model);
  const reach = { inputs, passes: 1, stopAt };
  const points = capturePoints(model, request, reach);
  requireKept(points, request, pass);
  const intervene = prepareInterventions(edits, model.config, reach);
  const cache = new ActivationCache({ device, dtype });
  try {
    const tap = inTurn(intervene(pass), captureTap(cache, points, request, { pass, images }), stop);
    const logits = await model.forwardAsync(inputs, { tap, signal }).catch(enough);
    return { logits, cache };
  } catch (error) {
    cache.dispose();
    throw error;
  }
}

function requireKept(points: readonly HookPoint[], request: CaptureRequest, pass: Pass): void {
  if (points.some((point) => selectKept(point, request, pass) !== null)) return;
  throw nothingMeant("hooks", request, points[0]!, "nothing would be kept");
}

/** Logits of one forward pass with interventions; the caller owns them. */
export async function editedForward(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  edits: readonly Intervention[],
): Promise<tf.Tensor> {
  const intervene = prepareInterventions(edits, model.config, { inputs, passes: 1 });
  const tap = intervene(promptPass(model.config, inputs));
  return model.forwardAsync(inputs, tap ? { tap } : {});
}

/** Thrown by a tap to end a run that has shown everything that was wanted. */
class Enough extends Error {}

function enough(error: unknown): null {
  if (error instanceof Enough) return null;
  throw error;
}

// Where a run has shown all that is kept of it, and all that its edits name.
function lastNeeded(model: PaliGemmaModel, request: RunRequest): string | undefined {
  const { edits = [] } = request;
  const kept = capturePoints(model, request).map(({ name }) => name);
  return lastOf([...kept, ...namesOfInterventions(edits, model.config)], model.config);
}

function stopBehind(name: string | undefined, model: PaliGemmaModel): Tap | null {
  if (name === undefined) return null;
  if (!hookCatalogue(model.config).some((point) => point.name === name)) {
    throw new InputError(`stopAt: expected "needed" or the name of an activation, received ${described(name)}`);
  }
  const stop: Tap = () => {
    throw new Enough();
  };
  return Object.assign(stop, { wants: (one: string) => one === name });
}
