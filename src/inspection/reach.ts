import type { PaliGemmaConfig } from "../config.js";
import { InputError } from "../errors.js";
import { hookCatalogue } from "../hook-catalogue.js";
import { requireFiring } from "../hook-reach.js";
import type { ModelInputs } from "../inputs.js";

/** What hooks a call can show. */
export type Reach = {
  inputs: Pick<ModelInputs, "pixelValues" | "imageRows">;
  /** Whether passes over generated tokens follow the one over the prompt. */
  generates: boolean;
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
  /** The passes in which they count; default each. */
  inStep?: (step: number) => boolean;
};

/**
 * The one law for every hook that cannot fire in a call: throws `InputError` that names it. Hooks of the vision tower and the projector
 * fire where pixels go through them, in the pass over the prompt alone; nothing fires behind the activation where a call stops.
 */
export function requireReach(
  asked: readonly NamedHooks[],
  { inputs, generates, stopAt }: Reach,
  config: PaliGemmaConfig,
): void {
  for (const { who, names } of asked) requireFiring(who, names, inputs);
  for (const { who, names, inStep } of asked) requireStep(who, names, { generates, inStep });
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

function requireStep(
  who: string,
  names: readonly string[],
  { generates, inStep }: Pick<Reach, "generates"> & Pick<NamedHooks, "inStep">,
): void {
  if (inStep === undefined || inStep(0)) return;
  const once = generates ? names.find((name) => !name.startsWith("language.")) : names[0];
  if (once === undefined) return;
  const passes = generates ? "it fires in the pass over the prompt, step 0, alone" : "the call has one pass, step 0";
  throw new InputError(`${who}: ${once} cannot fire in these steps: ${passes}; leave steps out`);
}
