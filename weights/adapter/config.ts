import { WeightsError } from "../errors.js";
import { isObject, type JsonObject, shown } from "../json.js";

/** What adapter_config.json says that changes numbers. */
export interface AdapterConfig {
  readonly r: number;
  readonly loraAlpha: number;
  /** alpha / sqrt(r) instead of alpha / r. */
  readonly useRslora: boolean;
  readonly useDora: boolean;
  /** Names, each of a module or of the end of its path; or one regular expression, or "all-linear". */
  readonly targetModules: string | readonly string[];
  readonly excludeModules: string | readonly string[];
  /** Ranks and alphas of modules that have others than the defaults, by regular expression, the first match first. */
  readonly rankPattern: readonly (readonly [pattern: string, rank: number])[];
  readonly alphaPattern: readonly (readonly [pattern: string, alpha: number])[];
  /** Indices that alone are adapted where targets are names; null: all. */
  readonly layersToTransform: readonly number[] | null;
  readonly layersPattern: readonly string[];
  /** Ends of the paths of modules that are stored whole. */
  readonly modulesToSave: readonly string[];
  readonly bias: "none" | "all" | "lora_only";
  /** Whether an adapted or stored embedding is the output head's as well. */
  readonly ensureWeightTying: boolean;
  /** The model that it was trained on, as its trainer called it; null where that is not said. */
  readonly baseModel: string | null;
}

/**
 * Fields that change nothing here: of training and of starts, about files, or of layers that PaliGemma has not got
 * (`fan_in_fan_out`).
 */
const WITHOUT_EFFECT = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "corda_config",
  "eva_config",
  "fan_in_fan_out",
  "inference_mode",
  "loftq_config",
  "lora_dropout",
  "lora_ga_config",
  "megatron_core",
  "peft_version",
  "qalora_group_size",
  "revision",
  "runtime_config",
  "task_type",
]);

/**
 * Ways to start that leave the base's weights as they are. The others (pissa, olora, corda, loftq, lora_ga) take a part
 * out of them.
 */
const HARMLESS_STARTS: readonly unknown[] = [undefined, null, true, false, "gaussian", "eva", "orthogonal", "mica"];

/**
 * Most entries of all lists and objects of patterns together, and characters in them: with all modules of 28B by name
 * there are 500.
 */
const MAX_ENTRIES = 4096;
const MAX_CHARACTERS = 400_000;

/** The largest rank that is read; with it alone a table of the largest layer is beyond any memory. */
const MAX_RANK = 65_536;

/**
 * Checks adapter_config.json. Throws `WeightsError` naming the field for a value of a wrong kind, and for each field,
 * known or not, that would change what is computed and is not supported. Source: peft 0.21, tuners/lora/config.py.
 */
export function parseAdapterConfig(json: unknown, where: string): AdapterConfig {
  if (!isObject(json)) throw new WeightsError(`${where}: expected a JSON object, found ${shown(json)}`);
  const fields = new Fields(json, where);
  if (json.peft_type !== "LORA") throw fields.refusal("peft_type", 'only "LORA" is read');
  if (!HARMLESS_STARTS.includes(json.init_lora_weights)) {
    const how = "save it again with path_initial_model_for_weight_conversion, which makes a plain adapter of it";
    throw fields.refusal("init_lora_weights", `such a start changes the base's weights; in PEFT ${how}`);
  }
  const config: AdapterConfig = {
    r: fields.rank("r", json.r ?? 8),
    loraAlpha: fields.number("lora_alpha", json.lora_alpha ?? 8),
    useRslora: fields.flag("use_rslora"),
    useDora: fields.flag("use_dora"),
    targetModules: fields.patternOrNames("target_modules"),
    excludeModules: fields.patternOrNames("exclude_modules"),
    rankPattern: fields.entries("rank_pattern", (name, value) => fields.rank(name, value)),
    alphaPattern: fields.entries("alpha_pattern", (name, value) => fields.number(name, value)),
    layersToTransform: fields.indices("layers_to_transform"),
    layersPattern: fields.names("layers_pattern"),
    modulesToSave: fields.names("modules_to_save"),
    bias: fields.bias(),
    ensureWeightTying: fields.flag("ensure_weight_tying"),
    baseModel: typeof json.base_model_name_or_path === "string" ? json.base_model_name_or_path : null,
  };
  fields.refuseTheRest();
  checkTogether(config, fields);
  return config;
}

/** What PEFT itself refuses, or cannot have written. */
function checkTogether(config: AdapterConfig, fields: Fields): void {
  const { targetModules, layersToTransform, layersPattern, bias, modulesToSave } = config;
  if (targetModules.length === 0) throw fields.refusal("target_modules", "expected names or a regular expression");
  if (typeof targetModules === "string" && (layersToTransform !== null || layersPattern.length > 0)) {
    throw fields.refusal("layers_to_transform", "it goes with a list of target_modules, not with an expression");
  }
  if (layersPattern.length > 0 && layersToTransform === null) {
    throw fields.refusal("layers_pattern", "it needs layers_to_transform");
  }
  if (bias === "all" && modulesToSave.length > 0) {
    throw fields.refusal("bias", "with modules_to_save it stores some biases three times; only the one or the other");
  }
}

/** Reads fields and remembers which. */
class Fields {
  private readonly read = new Set(["peft_type", "init_lora_weights"]);
  private entriesRead = 0;
  private charactersRead = 0;

  constructor(
    private readonly json: JsonObject,
    private readonly where: string,
  ) {}

  refusal(name: string, reason: string): WeightsError {
    return new WeightsError(`${this.where}: ${name} is ${shown(this.json[name])}: ${reason}`);
  }

  flag(name: string): boolean {
    const value = this.take(name) ?? false;
    if (typeof value !== "boolean") throw this.refusal(name, "expected true or false");
    return value;
  }

  rank(name: string, value: unknown): number {
    this.read.add(name);
    if (Number.isSafeInteger(value) && (value as number) > 0 && (value as number) <= MAX_RANK) return value as number;
    throw this.unfit(name, value, `a whole number from 1 to ${MAX_RANK}`);
  }

  number(name: string, value: unknown): number {
    this.read.add(name);
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.unfit(name, value, "a number");
  }

  patternOrNames(name: string): string | readonly string[] {
    const value = this.json[name];
    if (typeof value !== "string") return this.names(name);
    this.read.add(name);
    return value;
  }

  /** A list of names, or one. */
  names(name: string): readonly string[] {
    const value = this.take(name) ?? [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    this.count(name, list);
    if (list.every((item) => typeof item === "string" && item !== "")) return list as string[];
    throw this.refusal(name, "expected a list of names");
  }

  indices(name: string): readonly number[] | null {
    const value = this.take(name) ?? [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    this.count(name, list);
    if (!list.every((item) => Number.isSafeInteger(item))) throw this.refusal(name, "expected a list of whole numbers");
    return list.length > 0 ? (list as number[]) : null;
  }

  entries(name: string, read: (name: string, value: unknown) => number): [string, number][] {
    const value = this.take(name) ?? {};
    if (!isObject(value)) throw this.refusal(name, "expected an object of patterns");
    this.count(name, Object.keys(value));
    return Object.entries(value).map(([pattern, number]) => [pattern, read(`${name}.${pattern}`, number)]);
  }

  /** Throws where this and what was counted before are more than a config has. */
  private count(name: string, list: readonly unknown[]): void {
    this.entriesRead += list.length;
    for (const item of list) if (typeof item === "string") this.charactersRead += item.length;
    if (this.entriesRead <= MAX_ENTRIES && this.charactersRead <= MAX_CHARACTERS) return;
    const most = `${MAX_ENTRIES} entries and ${MAX_CHARACTERS} characters`;
    throw new WeightsError(`${this.where}: ${name}: expected at most ${most} in all lists together, received more`);
  }

  bias(): AdapterConfig["bias"] {
    const value = this.take("bias") ?? "none";
    if (value === "none" || value === "all" || value === "lora_only") return value;
    throw this.refusal("bias", 'expected "none", "all" or "lora_only"');
  }

  /** Fields that nothing has read and that are not known to be harmless must be switched off. */
  refuseTheRest(): void {
    for (const [name, value] of Object.entries(this.json)) {
      if (this.read.has(name) || WITHOUT_EFFECT.has(name) || isOff(value)) continue;
      throw this.refusal(name, "it may change what is computed, and is not supported");
    }
  }

  private take(name: string): unknown {
    this.read.add(name);
    return this.json[name];
  }

  private unfit(name: string, value: unknown, expected: string): WeightsError {
    return new WeightsError(`${this.where}: ${name} is ${shown(value)}: expected ${expected}`);
  }
}

const isOff = (value: unknown): boolean =>
  value === null || value === false || value === "" || (typeof value === "object" && Object.keys(value).length === 0);
