import type * as tf from "@tensorflow/tfjs";

import { listens, type Tap } from "../../layers/tap.js";
import type { PaliGemmaConfig } from "../config.js";
import { hookCatalogue, type HookPoint } from "../hook-catalogue.js";
import type { Segment } from "../segments.js";
import { applyEdit } from "./apply-edit.js";
import { type CheckedEdit, checkEdit, type Edit } from "./edit.js";
import { type HookFilter, selectHooks } from "./hook-filter.js";
import type { Pass } from "./pass.js";

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
 * Sees an activation, and may return another tensor of its shape to put in its place. It runs inside the forward pass's tidy:
 * what is to survive must be kept.
 */
export type HookCallback = (value: tf.Tensor, context: HookContext) => tf.Tensor | void;

/** A change of activations: declared, done by a callback for each name that the filter selects, or a tap such as `spliceSae` gives. */
export type Intervention = Edit | readonly [HookFilter, HookCallback] | Tap;

/** Interventions ready for a run: the tap that makes them in a pass. */
export type Interventions = (pass: Pass) => Tap | null;

/** Checks interventions once, for every pass of a run. Throws `InputError` for what is wrong with one. */
export function prepareInterventions(given: readonly Intervention[], config: PaliGemmaConfig): Interventions {
  if (given.length === 0) return () => null; // no list of a thousand names for a run that changes none
  const catalogue = hookCatalogue(config);
  const names = catalogue.map(({ name }) => name);
  const changes = new Map<string, Change[]>();
  given.forEach((one, i) => {
    for (const { name, change } of changesOf(one, i, catalogue, names)) {
      changes.set(name, [...(changes.get(name) ?? []), change]);
    }
  });
  if (changes.size === 0) return () => null;
  return (pass) => {
    const tap: Tap = (name, value) =>
      (changes.get(name) ?? []).reduce((current, change) => change(current, pass), value);
    return Object.assign(tap, { wants: (name: string) => changes.has(name) });
  };
}

type Change = (value: tf.Tensor, pass: Pass) => tf.Tensor;

function changesOf(one: Intervention, i: number, catalogue: readonly HookPoint[], names: readonly string[]) {
  if (typeof one === "function") {
    const tap =
      (name: string): Change =>
      (value) =>
        one(name, value);
    return names.filter((name) => listens(one, name)).map((name) => ({ name, change: tap(name) }));
  }
  if (isCallback(one)) {
    const [filter, callback] = one;
    return selectHooks(filter, names).map((name) => ({ name, change: called(name, callback) }));
  }
  const checked = checkEdit(one, `edits[${i}]`, catalogue);
  return checked.points.map((point) => ({ name: point.name, change: declared(checked, point) }));
}

const isCallback = (one: Intervention): one is readonly [HookFilter, HookCallback] =>
  Array.isArray(one) && one.length === 2 && typeof one[1] === "function";

function called(name: string, callback: HookCallback): Change {
  const block = /\.blocks\.(\d+)\./.exec(name);
  const layer = block ? Number(block[1]) : null;
  return (value, { step, segments }) => callback(value, { name, layer, step, segments }) ?? value;
}

const declared =
  ({ edit, inStep }: CheckedEdit, point: HookPoint): Change =>
  (value, pass) =>
    inStep(pass.step) ? applyEdit(value, edit, point, pass) : value;
