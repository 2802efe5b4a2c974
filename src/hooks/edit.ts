import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";
import { type HookPoint } from "../model/hook-catalogue.js";
import { anything, checkOptions, described, type OptionKinds } from "../base/options.js";
import { selectHooks } from "./hook-filter.js";
import type { Selector } from "./selection.js";

/** What an edit does to the selected part: x·0, x·factor, x + value, value, or (of scores) closing the cells. */
export const OPERATIONS = ["suppress", "scale", "add", "set", "close"] as const;
/** One of `OPERATIONS`. */
export type Operation = (typeof OPERATIONS)[number];

/** A number, or an array that broadcasts to the selected part. */
export type EditValue = number | NestedNumbers | tf.Tensor;
/** Arrays of numbers of even lengths, as JSON has them. */
export type NestedNumbers = readonly (number | NestedNumbers)[];

/**
 * A change of activations, as JSON: which (`hook`, a glob, and the `Selector`'s parts of each), what (`op`, with
 * `factor` or `value`), and in which passes (`steps`: 0 the prompt, then one for each generated token; default all).
 */
export type Edit = Selector & {
  hook: string;
  op: Operation;
  factor?: number | undefined;
  value?: EditValue | undefined;
  steps?: Steps | undefined;
};

/** An edit with the activations that it changes, and the passes in which it is made. */
export type CheckedEdit = { edit: Edit; points: HookPoint[] } & CheckedSteps;

/** Passes: whether one of them is meant, and the first that is. */
export type CheckedSteps = { inStep: (step: number) => boolean; firstStep: number };

/** Passes: a number of one, a half-open range such as "1:4" or "2:", or a list of these. 0 is the prompt's. */
export type Steps = number | string | readonly (number | string)[];

/** Of each part of an edit; they are checked together below. */
const EDIT_KINDS: OptionKinds<Edit> = {
  hook: anything,
  op: anything,
  factor: anything,
  value: anything,
  positions: anything,
  keys: anything,
  heads: anything,
  units: anything,
  steps: anything,
};

/**
 * Checks an edit as it comes from outside; `where` names it in errors. Throws `InputError` that says what is wrong with
 * it.
 */
export function checkEdit(received: unknown, where: string, catalogue: readonly HookPoint[]): CheckedEdit {
  const edit = checkOptions(where, received as Edit, EDIT_KINDS);
  if (typeof edit.hook !== "string")
    throw new InputError(`${where}.hook: expected a name or glob, received ${typeof edit.hook}`);
  if (!OPERATIONS.includes(edit.op)) {
    throw new InputError(`${where}.op: expected one of ${OPERATIONS.join(", ")}, received ${JSON.stringify(edit.op)}`);
  }
  checkOperands(edit, where);
  for (const key of ["heads", "units"] as const) {
    if (edit[key] !== undefined && !Array.isArray(edit[key])) {
      throw new InputError(`${where}.${key}: expected a list of indices, received ${JSON.stringify(edit[key])}`);
    }
  }
  for (const key of ["heads", "units", "positions", "keys", "steps"] as const) {
    const part: unknown = edit[key];
    if (!Array.isArray(part) || part.length > 0) continue;
    throw new InputError(`${where}.${key}: expected at least one, received an empty list, which changes nothing`);
  }
  const names = catalogue.map(({ name }) => name);
  const chosen = new Set(selectHooks(edit.hook, names));
  const points = catalogue.filter(({ name }) => chosen.has(name));
  if (edit.op === "close") {
    const other = points.find(({ name }) => !name.endsWith("hook_attn_scores"));
    if (other) throw new InputError(`${where}.op: only hook_attn_scores has cells to close, received ${other.name}`);
  }
  return { edit, points, ...parseSteps(edit.steps, `${where}.steps`) };
}

function checkOperands({ op, factor, value }: Edit, where: string): void {
  const takes = { suppress: null, close: null, scale: "factor", add: "value", set: "value" }[op];
  for (const [key, given] of Object.entries({ factor, value })) {
    if (key !== takes && given !== undefined) throw new InputError(`${where}: "${op}" takes no ${key}`);
    if (key === takes && given === undefined) throw new InputError(`${where}.${key}: "${op}" needs it`);
  }
  if (factor !== undefined && !Number.isFinite(factor)) {
    throw new InputError(`${where}.factor: expected a finite number, received ${String(factor)}`);
  }
  checkValue(value, `${where}.value`);
}

/**
 * Refuses what would be taken for a number: "3", true, or the null that JSON makes of NaN. Tensors are checked where
 * they are used.
 */
function checkValue(value: unknown, where: string): void {
  if (value === undefined || value instanceof tf.Tensor) return;
  if (Array.isArray(value)) return value.forEach((one) => checkValue(one, where));
  if (Number.isFinite(value)) return;
  throw new InputError(`${where}: expected a finite number, lists of such or a tensor, received ${described(value)}`);
}

function parseSteps(steps: Steps | undefined, where: string): CheckedSteps {
  if (steps === undefined) return { inStep: () => true, firstStep: 0 };
  const ranges = (Array.isArray(steps) ? (steps as unknown[]) : [steps]).map((one) => {
    if (Number.isSafeInteger(one) && (one as number) >= 0) return [one as number, (one as number) + 1];
    const range = typeof one === "string" ? /^(\d+)?:(\d+)?$/.exec(one) : null;
    const [from, to] = [Number(range?.[1] ?? 0), Number(range?.[2] ?? Infinity)];
    if (range && from < to) return [from, to];
    throw new InputError(`${where}: expected a number or a range such as "1:4", received ${JSON.stringify(one)}`);
  });
  return {
    inStep: (step) => ranges.some(([from, to]) => step >= from! && step < to!),
    firstStep: Math.min(...ranges.map(([from]) => from!)),
  };
}
