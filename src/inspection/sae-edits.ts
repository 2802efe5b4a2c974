import { InputError } from "../base/errors.js";
import { anything, checkOptions, type OptionKinds } from "../base/options.js";
import type { JumpReluSae } from "./sae.js";

/** A change of one feature where it is spliced: to 0, times `factor`, or to `value`. */
export type FeatureEdit =
  | { feature: number; op: "suppress" }
  | { feature: number; op: "scale"; factor: number }
  | { feature: number; op: "set"; value: number };

type AnyFeatureEdit = { feature: number; op: string; factor?: number | undefined; value?: number | undefined };

const FEATURE_EDIT_KINDS: OptionKinds<AnyFeatureEdit> = {
  feature: anything,
  op: anything,
  factor: anything,
  value: anything,
};

/** Edits in one step: each feature once, its activation becoming factor · activation + value. */
export type FeatureEdits = { features: number[]; factors: number[]; values: number[] };

/**
 * Edits, applied in order, as one affine map for each feature; null when there is none. Throws `InputError` naming the
 * edit that is wrong.
 */
export function compileFeatureEdits(edits: readonly FeatureEdit[], sae: JumpReluSae): FeatureEdits | null {
  const maps = new Map<number, [factor: number, value: number]>();
  edits.forEach((edit, i) => {
    const { feature } = checkOptions<AnyFeatureEdit>(`sae: edits[${i}]`, edit, FEATURE_EDIT_KINDS);
    if (!Number.isSafeInteger(feature) || feature < 0 || feature >= sae.features) {
      const range = `[0, ${sae.features}) of ${sae.name}`;
      throw new InputError(`sae: edits[${i}].feature: expected a feature in ${range}, received ${String(feature)}`);
    }
    maps.set(feature, followedBy(maps.get(feature) ?? [1, 0], edit, `sae: edits[${i}]`));
  });
  if (maps.size === 0) return null;
  const pairs = [...maps.values()];
  return {
    features: [...maps.keys()],
    factors: pairs.map(([factor]) => factor),
    values: pairs.map(([, value]) => value),
  };
}

function followedBy([factor, value]: [number, number], edit: FeatureEdit, where: string): [number, number] {
  if (edit.op === "suppress") return [0, 0];
  if (edit.op === "scale") {
    const by = finite(edit.factor, `${where}.factor`);
    return [factor * by, value * by];
  }
  if (edit.op === "set") return [0, finite(edit.value, `${where}.value`)];
  const { op } = edit as { op: unknown };
  throw new InputError(`${where}.op: expected suppress, scale or set, received ${JSON.stringify(op)}`);
}

function finite(value: unknown, where: string): number {
  if (typeof value === "number" && Number.isFinite(value)) return value;
  throw new InputError(`${where}: expected a number, received ${String(value)}`);
}
