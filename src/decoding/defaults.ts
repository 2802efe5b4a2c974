import { InputError } from "../base/errors.js";
import type { SamplingOptions } from "./sampling.js";
import { isSampling } from "./sampling.js";
import type { GenerationOptions } from "./text-options.js";

/** How a model decodes where a call does not say: what its generation_config.json sets. */
export type GenerationDefaults = {
  /** What holds in every call. */
  readonly options: GenerationOptions;
  /** What holds in calls that sample. */
  readonly sampling: SamplingOptions;
  /** Whether a call samples that does not say. */
  readonly doSample: boolean;
  /** Fields of the file that change what a call draws and are not supported: such a call is refused. */
  readonly unsupportedSampling: readonly string[];
};

/** Of a model that says nothing. */
export const NO_DEFAULTS: GenerationDefaults = { options: {}, sampling: {}, doSample: false, unsupportedSampling: [] };

/**
 * How many of the likeliest tokens are drawn from where a file asks for sampling and not for a number. Source:
 * transformers 5.18, configuration_utils.py.
 */
const SAMPLED = { temperature: 1, topK: 50 };

/**
 * Options of which the one in a call makes the other one of the file mean nothing: new tokens, and the prompt counted.
 */
const COUNTERPARTS = [
  ["maxNewTokens", "maxLength"],
  ["minNewTokens", "minLength"],
] as const;

/**
 * The options of a call with what the model's defaults add; an option that the call gives wins. Throws `InputError` for
 * a call that samples where the model's file has a word about it that is not supported.
 */
export function withDefaults<Options extends GenerationOptions>(call: Options, defaults: GenerationDefaults): Options {
  const given = Object.fromEntries(Object.entries(call).filter(([, value]) => value !== undefined));
  const asked = ["temperature", "topK", "topP"].some((name) => Object.hasOwn(given, name));
  const drawn = defaults.doSample ? { ...SAMPLED, ...defaults.sampling } : asked ? defaults.sampling : {};
  const samples = isSampling({ ...drawn, ...given });
  if (samples && defaults.unsupportedSampling.length > 0) {
    throw new InputError(
      `${defaults.unsupportedSampling[0]}: changes what is drawn and is not supported; take it out of the file, or do not sample`,
    );
  }
  const sampling = samples ? drawn : {};
  const rest = { ...defaults.options };
  for (const pair of COUNTERPARTS)
    if (pair.some((name) => Object.hasOwn(given, name))) for (const name of pair) delete rest[name];
  return { ...rest, ...sampling, ...given } as Options;
}
