import type * as tf from "@tensorflow/tfjs";

import { listens, type Tap } from "../../layers/tap.js";
import type { PaliGemmaConfig } from "../model/config.js";
import { InputError } from "../base/errors.js";
import { hookCatalogue, type HookPoint } from "../model/hook-catalogue.js";
import { checkedReplacement } from "../model/hook-replacement.js";
import { described } from "../base/options.js";
import type { Segment } from "../model/segments.js";
import { applyEdit } from "./apply-edit.js";
import { type CheckedEdit, checkEdit, type Edit } from "./edit.js";
import { type HookFilter, selectHooks } from "./hook-filter.js";
import { laterPass, type Pass } from "./pass.js";
import { type NamedHooks, type Reach, requireReach } from "./reach.js";
import { nothingMeant, select } from "./selection.js";

/** What a callback is told of the activation that it sees. */
export type HookContext = {
  name: string;
  /** The number of the block, or null outside of one. */
  layer: number | null;
  /** 0 for the prompt, then one for each generated token. */
  step: number;
  /** Segments of the prompt, for each row. */
  segments: readonly (readonly Segment[])[];
};

/**
 * Sees an activation, and may return another tensor of its shape to put in its place. It runs inside the forward pass's
 * tidy: what is to survive must be kept.
 */
export type HookCallback = (value: tf.Tensor, context: HookContext) => tf.Tensor | void;

/**
 * A change of activations: declared, done by a callback for each name that the filter selects, or a tap such as
 * `spliceSae` gives.
 */
export type Intervention = Edit | readonly [HookFilter, HookCallback] | Tap;

/** Interventions ready for a run: the tap that makes them in a pass. */
export type Interventions = (pass: Pass) => Tap | null;

/**
 * Checks interventions once, for every pass of a run that reaches as far as `reach` says. Throws `InputError` for what
 * is wrong with one, and for a hook that cannot fire in such a run; what it returns does for a declared edit whose
 * positions or keys mean nothing of the run's prompts.
 */
export function prepareInterventions(
  given: readonly Intervention[],
  config: PaliGemmaConfig,
  reach?: Reach,
): Interventions {
  requireList(given);
  if (given.length === 0) return () => null; // no list of a thousand names for a run that changes none
  const catalogue = hookCatalogue(config);
  const prepared = given.map((one: Intervention, i) => preparedOf(one, `edits[${i}]`, catalogue));
  if (reach)
    requireReach(
      prepared.flatMap(({ named }) => named ?? []),
      reach,
      config,
    );
  const changes = new Map<string, Change[]>();
  for (const { names, changeOf } of prepared) {
    for (const name of names) changes.set(name, [...(changes.get(name) ?? []), changeOf(name)]);
  }
  const declared = prepared.every(({ named }) => named !== null);
  return (pass) => {
    if (pass.step === 0) for (const { requirePart } of prepared) requirePart?.(pass, reach?.passes ?? 1);
    const tap: Tap = (name, value) =>
      (changes.get(name) ?? []).reduce((current, change) => change(current, pass), value);
    return declared ? Object.assign(tap, { wants: (name: string) => changes.has(name) }) : tap;
  };
}

/**
 * The activations that interventions name; of taps that listen to whatever comes, none. Throws as
 * `prepareInterventions` does.
 */
export function namesOfInterventions(given: readonly Intervention[], config: PaliGemmaConfig): string[] {
  requireList(given);
  const catalogue = given.length === 0 ? [] : hookCatalogue(config);
  return given.flatMap((one, i) => preparedOf(one, `edits[${i}]`, catalogue).named?.names ?? []);
}

function requireList(given: readonly Intervention[]): void {
  if (!Array.isArray(given)) throw new InputError(`edits: expected a list of them, received ${described(given)}`);
}

type Change = (value: tf.Tensor, pass: Pass) => tf.Tensor;

type Prepared = {
  names: readonly string[];
  changeOf: (name: string) => Change;
  /** Which hooks it names; null of a tap that listens to whatever comes. */
  named: NamedHooks | null;
  /**
   * Throws `InputError` where it means no part of any activation in a run of so many passes that begins with this one.
   */
  requirePart?: (prompt: Pass, passes: number) => void;
};

function preparedOf(one: Intervention, who: string, catalogue: readonly HookPoint[]): Prepared {
  const known = catalogue.map(({ name }) => name);
  if (typeof one === "function") return preparedTap(one, who, known);
  if (isCallback(one)) {
    const [filter, callback] = one;
    const names = selectHooks(filter, known);
    return { names, changeOf: (name) => called(who, name, callback), named: { who, names, all: false } };
  }
  const checked = checkEdit(one, who, catalogue);
  const names = checked.points.map(({ name }) => name);
  const points = new Map(checked.points.map((point) => [point.name, point]));
  const changeOf = (name: string) => declared(checked, points.get(name)!);
  const named = { who, names, all: true, firstStep: checked.firstStep };
  return { names, changeOf, named, requirePart: (prompt, passes) => requirePart(who, checked, prompt, passes) };
}

/** An edit of a part that a run does not have would change nothing, and the run would say nothing of it. */
function requirePart(who: string, { edit, points, firstStep }: CheckedEdit, prompt: Pass, passes: number): void {
  if (edit.positions === undefined && edit.keys === undefined) return;
  const steps = firstStep === 0 && passes > 1 ? [0, 1] : [firstStep]; // later ones have what the second has
  const meant = steps.some((step) => {
    const pass = step === 0 ? prompt : laterPass(prompt, step);
    return points.some((point) => select(point, edit, pass) !== null);
  });
  if (meant) return;
  throw nothingMeant(who, edit, points[0]!, "it changes nothing");
}

function preparedTap(tap: Tap, who: string, known: readonly string[]): Prepared {
  const names = known.filter((name) => listens(tap, name));
  if (names.length === 0)
    throw new InputError(`${who}: this tap wants none of the model's activations; see hookCatalogue`);
  const changeOf =
    (name: string): Change =>
    (value) =>
      checkedReplacement(who, name, value, tap(name, value));
  return { names, changeOf, named: tap.wants ? { who, names, all: false } : null };
}

const isCallback = (one: Intervention): one is readonly [HookFilter, HookCallback] =>
  Array.isArray(one) && one.length === 2 && typeof one[1] === "function";

function called(who: string, name: string, callback: HookCallback): Change {
  const block = /\.blocks\.(\d+)\./.exec(name);
  const layer = block ? Number(block[1]) : null;
  return (value, { step, segments }) => {
    const result = answerOf(() => callback(value, { name, layer, step, segments }), `${who}: the callback for ${name}`);
    return checkedReplacement(who, name, value, result ?? value);
  };
}

// What a callback throws is the caller's own fault, and says nothing of the hook.
function answerOf(call: () => unknown, what: string): unknown {
  try {
    return call();
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new InputError(`${what} threw: ${reason}`, { cause: error });
  }
}

const declared =
  ({ edit, inStep }: CheckedEdit, point: HookPoint): Change =>
  (value, pass) =>
    inStep(pass.step) ? applyEdit(value, edit, point, pass) : value;
