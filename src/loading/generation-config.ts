import { decodeUtf8, parseJson } from "../../weights/json.js";
import type { Folder } from "../../weights/byte-source.js";
import { ConfigFields } from "../model/config-fields.js";
import { type GenerationDefaults, NO_DEFAULTS } from "../decoding/defaults.js";
import type { GenerationOptions } from "../decoding/text-options.js";
import { ConfigError } from "../base/errors.js";

/** The file beside a checkpoint that says how it is to be decoded. */
export const GENERATION_CONFIG = "generation_config.json";

/** What a checkpoint's generation_config.json says. */
export type GenerationConfig = GenerationDefaults & {
  /** The ids that end an answer; null: those of config.json. */
  readonly eosTokenIds: readonly number[] | null;
};

/** A field, and the values of it that change nothing. */
type Unsupported = readonly [field: string, ...neutral: unknown[]];

/** Fields that change what is drawn and are not supported. Source: transformers 5.18, generation/utils.py. */
const UNSUPPORTED_IN_SAMPLING: readonly Unsupported[] = [
  ["min_p"],
  ["top_h"],
  ["typical_p", 1],
  ["epsilon_cutoff", 0],
  ["eta_cutoff", 0],
];

/**
 * Fields that change answers and are not supported, with the values that change nothing. Source: transformers 5.18,
 * generation/utils.py.
 */
const UNSUPPORTED: readonly Unsupported[] = [
  ["encoder_repetition_penalty", 1],
  ["encoder_no_repeat_ngram_size", 0],
  ["guidance_scale", 1],
  ["sequence_bias"],
  ["exponential_decay_length_penalty"],
  ["watermarking_config"],
  ["token_healing", false],
  ["max_time"],
  ["penalty_alpha", 0],
  ["dola_layers"],
  ["num_beam_groups", 1],
  ["diversity_penalty", 0],
  ["constraints"],
  ["force_words_ids"],
  ["assistant_ensemble_weight"],
  ["prefill_chunk_size"],
];

/**
 * What steers generation in a folder, for a vocabulary of V: its generation_config.json, or without one the words of
 * its config.json, and of the text_config in it where the outer ones are silent. Throws `ConfigError` for a value out
 * of range, and for a field that changes answers and is not supported. Source: transformers 5.18,
 * `GenerationConfig.from_model_config`.
 */
export async function loadGenerationConfig(folder: Folder, vocabSize: number): Promise<GenerationConfig> {
  const isThere = await folder.has(GENERATION_CONFIG);
  const file = isThere ? GENERATION_CONFIG : "config.json";
  if (!isThere && !(await folder.has(file))) return { ...NO_DEFAULTS, eosTokenIds: null };
  const where = `${folder.name}/${file}`;
  const json = parseJson(decodeUtf8(await folder.readBytes(file), where), where);
  if (isThere) return parseGenerationConfig(json, vocabSize, where);
  return { ...parseGenerationConfig(wordsOf(ConfigFields.of(json, where)), vocabSize, where), eosTokenIds: null };
}

// Of a config.json; end tokens are read with the model's other special tokens.
function wordsOf(config: ConfigFields): Record<string, unknown> {
  const text = config.optionalObject("text_config");
  const said = [text, config].flatMap((fields) => fields?.names.map((name) => [name, fields.raw(name)] as const) ?? []);
  const { eos_token_id, ...words } = Object.fromEntries(said.filter(([, value]) => value !== undefined));
  return words;
}

/** The same of parsed JSON; fields that change no answer are passed over. Throws as `loadGenerationConfig`. */
export function parseGenerationConfig(json: unknown, vocabSize: number, where = GENERATION_CONFIG): GenerationConfig {
  const fields = ConfigFields.of(json, where);
  const doSample = fields.flag("do_sample", false);
  refuseUnsupported(fields, doSample ? [...UNSUPPORTED, ...UNSUPPORTED_IN_SAMPLING] : UNSUPPORTED);
  const options = definedOnly({ ...lengths(fields), ...beams(fields, doSample), ...rules(fields, vocabSize) });
  const eosTokenIds = fields.raw("eos_token_id") === undefined ? null : idsOf(fields, "eos_token_id", vocabSize)!;
  const unsupportedSampling = UNSUPPORTED_IN_SAMPLING.filter((one) => isSet(fields, one)).map(([name]) =>
    fields.at(name),
  );
  return { eosTokenIds, doSample, options, sampling: sampling(fields, doSample), unsupportedSampling };
}

const isSet = (fields: ConfigFields, [field, ...neutral]: Unsupported): boolean =>
  fields.raw(field) !== undefined && !neutral.includes(fields.raw(field));

function refuseUnsupported(fields: ConfigFields, unsupported: readonly Unsupported[]): void {
  const refused = unsupported.find((one) => isSet(fields, one));
  if (refused === undefined) return;
  const value = JSON.stringify(fields.raw(refused[0])).slice(0, 80);
  throw new ConfigError(
    `${fields.at(refused[0])}: changes answers and is not supported, received ${value}; ` +
      "take it out of the file to load the model without it",
  );
}

const optional = <T>(fields: ConfigFields, name: string, read: () => T): T | undefined =>
  fields.raw(name) === undefined ? undefined : read();

// A number of new tokens counts before one that counts the prompt. Source: generation/utils.py
// `_prepare_generated_length`.
function lengths(fields: ConfigFields): GenerationOptions {
  const whole = (name: string, least: number) => optional(fields, name, () => fields.integer(name, undefined, least));
  const [maxNewTokens, minNewTokens] = [whole("max_new_tokens", 1), whole("min_new_tokens", 0)];
  const maxLength = maxNewTokens === undefined ? whole("max_length", 1) : undefined;
  const minLength = minNewTokens === undefined ? whole("min_length", 0) : undefined;
  return { maxNewTokens, maxLength, minNewTokens, minLength };
}

function beams(fields: ConfigFields, doSample: boolean): GenerationOptions {
  const numBeams = fields.integer("num_beams", 1);
  const numReturnSequences = fields.integer("num_return_sequences", 1);
  if (numReturnSequences > numBeams) fields.refuse("num_return_sequences", `at most num_beams, ${numBeams}`);
  const early = fields.raw("early_stopping");
  if (early !== undefined && typeof early !== "boolean" && early !== "never") {
    fields.refuse("early_stopping", 'true, false or "never"');
  }
  const lengthPenalty = optional(fields, "length_penalty", () => fields.finite("length_penalty"));
  const searched = { earlyStopping: early as GenerationOptions["earlyStopping"], lengthPenalty };
  if (numBeams === 1) return searched; // for calls that ask for beams
  if (doSample) fields.refuse("do_sample", "false beside num_beams (beams are not drawn here)");
  if (fields.flag("renormalize_logits", false)) fields.refuse("renormalize_logits", "false beside num_beams");
  return { numBeams, numReturnSequences, ...searched };
}

function rules(fields: ConfigFields, vocabSize: number): GenerationOptions {
  const isEmpty = (name: string) => Array.isArray(fields.raw(name)) && (fields.raw(name) as unknown[]).length === 0;
  const ids = (name: string) =>
    isEmpty(name) ? undefined : optional(fields, name, () => idsOf(fields, name, vocabSize));
  const penalty = optional(fields, "repetition_penalty", () => fields.positive("repetition_penalty"));
  const size = fields.integer("no_repeat_ngram_size", 0, 0);
  return {
    repetitionPenalty: penalty,
    noRepeatNgramSize: size === 0 ? undefined : size,
    badWords: optional(fields, "bad_words_ids", () => runsOf(fields, "bad_words_ids", vocabSize)),
    suppressTokens: ids("suppress_tokens"),
    beginSuppressTokens: ids("begin_suppress_tokens"),
    forcedEosTokenId: ids("forced_eos_token_id"),
    stopStrings: optional(fields, "stop_strings", () => textsOf(fields, "stop_strings")),
  };
}

function sampling(fields: ConfigFields, doSample: boolean): GenerationDefaults["sampling"] {
  const topK = optional(fields, "top_k", () => fields.integer("top_k", undefined, 0));
  const topP = optional(fields, "top_p", () => fields.positive("top_p"));
  if (topP !== undefined && topP > 1) fields.refuse("top_p", "a number in (0, 1]");
  const temperature = optional(fields, "temperature", () =>
    doSample ? fields.positive("temperature") : fields.finite("temperature"),
  );
  // 0 stands for "greedy" in files that do not sample, which says nothing for a call that does.
  return definedOnly({
    temperature: temperature !== undefined && temperature > 0 ? temperature : undefined,
    topK,
    topP,
  });
}

function idsOf(fields: ConfigFields, name: string, vocabSize: number): number[] {
  const value = fields.raw(name);
  const ids = Array.isArray(value) ? value : [value];
  if (!areIds(ids, vocabSize)) fields.refuse(name, `an id below ${vocabSize}, or a list of them`);
  return ids as number[];
}

function runsOf(fields: ConfigFields, name: string, vocabSize: number): number[][] {
  const runs = fields.raw(name);
  if (!Array.isArray(runs) || !runs.every((ids) => Array.isArray(ids) && areIds(ids, vocabSize))) {
    fields.refuse(name, `a list of lists of ids below ${vocabSize}`);
  }
  return runs as number[][];
}

function textsOf(fields: ConfigFields, name: string): string[] {
  const value = fields.raw(name);
  const texts = Array.isArray(value) ? value : [value];
  if (!texts.every((text) => typeof text === "string" && text !== "")) fields.refuse(name, "text, or a list of texts");
  return texts as string[];
}

const areIds = (ids: readonly unknown[], vocabSize: number): boolean =>
  ids.length > 0 && ids.every((id) => Number.isSafeInteger(id) && (id as number) >= 0 && (id as number) < vocabSize);

const definedOnly = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
