import type { PaliGemmaConfig } from "../model/config.js";
import { InputError } from "../base/errors.js";
import { hookCatalogue } from "../model/hook-catalogue.js";
import { requireFiring } from "../model/hook-reach.js";
import type { ModelInputs } from "../model/inputs.js";

/** What hooks a call can show. */
export type Reach = {
  inputs: Pick<ModelInputs, "pixelValues" | "imageRows">;
  /** Most passes that the call can have: 1, or as many as tokens may be generated. */
  passes: number;
  /** The activation behind which the call ends, where it does not run to its end. */
  stopAt?: string | undefined;
};

/** Activations that one edit, callback or glob of a call names. */
export type NamedHooks = {
  /** What asks for them, in errors. */
  who: string;
  names: readonly string[];
  /** Whether each of them must fire before the call ends; else one of them must. */
  all: boolean;
  /** The first pass in which they count, from 0; default 0. */
  firstStep?: number;
};

/**
 * The one law for every hook that cannot fire in a call: throws `InputError` that names it. Hooks of the vision tower
 * and the projector fire where pixels go through them, in the pass over the prompt alone; nothing fires behind the
 * activation where a call stops, nor in a pass that the call cannot have.
 */
export function requireReach(
  asked: readonly NamedHooks[],
  { inputs, passes, stopAt }: Reach,
  config: PaliGemmaConfig,
): void {
  for (const { who, names } of asked) requireFiring(who, names, inputs);
  for (const one of asked) requireStep(one, passes);
  if (stopAt === undefined) return;
  const place = new Map(hookCatalogue(config).map(({ name }, i) => [name, i]));
  for (const { who, names, all } of asked) {
    const behind = names.filter((name) => place.get(name)! > place.get(stopAt)!);
    if (behind.length === 0 || (!all && behind.length < names.length)) continue;
    throw new InputError(`${who}: ${behind[0]} cannot fire: the call stops before it, behind ${stopAt}; stop later`);
  }
}

/** The last of some activations in the order of computation. */
export function lastOf(names: Iterable<string>, config: PaliGemmaConfig): string | undefined {
  const asked = new Set(names);
  return hookCatalogue(config).findLast(({ name }) => asked.has(name))?.name;
}

function requireStep({ who, names, firstStep = 0 }: NamedHooks, passes: number): void {
  if (firstStep === 0) return;
  const late = firstStep >= passes;
  const silent = names.find((name) => late || !name.startsWith("language."));
  if (silent === undefined) return;
  const why =
    passes === 1
      ? "the call has one pass, step 0"
      : late
        ? `the call has at most ${passes} passes, steps 0 to ${passes - 1}`
        : "it fires in the pass over the prompt, step 0, alone";
  const remedy = late && passes > 1 ? "name earlier steps" : "leave steps out";
  throw new InputError(`${who}: ${silent} cannot fire in these steps: ${why}; ${remedy}`);
}
