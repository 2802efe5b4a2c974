import { EMBEDDING, LM_HEAD } from "../names.js";
import type { AdapterConfig } from "./config.js";
import { adaptableModules, HEAD, isTied, TOKENS } from "./modules.js";
import { spell, type Spelling } from "./spelling.js";
import { type Place, savesEmbedding, type Target, targetsOf } from "./targets.js";

/**
 * What a tensor of an adapter is for: one of the two factors or DoRA's magnitude of a target; a whole tensor that
 * stands in for one of the model's; or the base's own table, which PEFT puts beside an adapter of embeddings.
 */
export type AdapterRole = "a" | "b" | "magnitude" | "whole" | "base";

/**
 * A tensor that an adapter must have, or, when it is the base's, may have. `weight`: the tensor of the model that it is
 * for.
 */
export type AdapterTensor = { readonly weight: string; readonly role: AdapterRole; readonly shape: readonly number[] };

/** What belongs into an adapter's file, by canonical name. */
export type ExpectedAdapter = {
  readonly targets: readonly Target[];
  readonly tensors: ReadonlyMap<string, AdapterTensor>;
};

/**
 * The tensors that a config asks for in a model (canonical name -> shape) whose modules are spelled so. Source: peft
 * 0.21, tuners/lora/layer.py (shapes), utils/save_and_load.py `get_peft_model_state_dict`, utils/other.py
 * `_set_trainable`.
 */
export function expectedAdapter(
  model: ReadonlyMap<string, readonly number[]>,
  config: AdapterConfig,
  spelling: Spelling,
  place: Place,
): ExpectedAdapter {
  const modules = adaptableModules(model).flatMap((module) => {
    const spelled = spell(module.path, spelling);
    return spelled === null ? [] : [{ ...module, spelled }];
  });
  const targets = targetsOf(modules, tying(config, model), place);
  const factors = targets.flatMap((target) => factorsOf(target, config.useDora));
  const whole = place.budget.spend(place.where, () => wholeTensors(model, tying(config, model), spelling));
  const tensors = new Map([...factors, ...whole, ...biases(model, targets, config)]);
  for (const [name, tensor] of baseTables(model)) if (!tensors.has(name)) tensors.set(name, tensor);
  return { targets, tensors };
}

/** PEFT warns and does nothing where there is nothing to tie. */
const tying = (config: AdapterConfig, model: ReadonlyMap<string, unknown>): AdapterConfig =>
  isTied(model) ? config : { ...config, ensureWeightTying: false };

type Named = [name: string, tensor: AdapterTensor];

function factorsOf({ path, kind, shape, rank }: Target, useDora: boolean): Named[] {
  const [rows, ...columns] = shape;
  const weight = `${path}.weight`;
  const tensor = (suffix: string, role: AdapterRole, shape: number[]): Named => [
    `${path}.${suffix}`,
    { weight, role, shape },
  ];
  const magnitude = (shape: number[]) => (useDora ? [tensor("lora_magnitude_vector", "magnitude", shape)] : []);
  if (kind === "embedding") {
    return [
      tensor("lora_embedding_A", "a", [rank, rows]),
      tensor("lora_embedding_B", "b", [...columns, rank]),
      ...magnitude(columns),
    ];
  }
  const points = kind === "convolution" ? [1, 1] : [];
  return [
    tensor("lora_A.weight", "a", [rank, ...columns]),
    tensor("lora_B.weight", "b", [rows, rank, ...points]),
    ...magnitude(kind === "convolution" ? [1, rows, 1, 1] : [rows]),
  ];
}

/** Tensors of `modules_to_save`: all of each module whose path ends so, at a dot or not. */
function wholeTensors(
  model: ReadonlyMap<string, readonly number[]>,
  config: AdapterConfig,
  spelling: Spelling,
): Named[] {
  const { modulesToSave, ensureWeightTying } = config;
  const both = ensureWeightTying && savesEmbedding(config);
  const known = new Map<string, boolean>(); // many tensors lie in one module
  const isSaved = (path: string): boolean => {
    const found = known.get(path) ?? modulesToSave.some((end) => path.endsWith(end));
    known.set(path, found);
    return found;
  };
  const saved = (name: string): boolean => {
    if (both && (name === EMBEDDING || name === LM_HEAD)) return true;
    const parts = (spell(name, spelling) ?? "").split(".").slice(0, -1);
    return parts.some((_, i) => isSaved(parts.slice(0, i + 1).join(".")));
  };
  const table = isTied(model) ? model.get(EMBEDDING) : undefined;
  return [...model, ...(table ? [[LM_HEAD, table] as const] : [])]
    .filter(([name]) => saved(name))
    .map(([name, shape]) => [name, { weight: name, role: "whole", shape }]);
}

/** Biases that were trained: PEFT stores those of adapted modules under `base_layer`. */
function biases(
  model: ReadonlyMap<string, readonly number[]>,
  targets: readonly Target[],
  { bias }: AdapterConfig,
): Named[] {
  if (bias === "none") return [];
  const adapted = new Set(targets.map(({ path }) => path));
  return [...model]
    .filter(([name]) => name.endsWith(".bias"))
    .flatMap(([name, shape]): Named[] => {
      const path = name.slice(0, -".bias".length);
      const tensor: AdapterTensor = { weight: name, role: "whole", shape };
      if (adapted.has(path)) return [[`${path}.base_layer.bias`, tensor]];
      return bias === "all" ? [[name, tensor]] : [];
    });
}

/** The tables of embedding and head, mostly one, which PEFT adds when they are adapted, or on request. */
function baseTables(model: ReadonlyMap<string, readonly number[]>): Named[] {
  const shape = model.get(EMBEDDING);
  if (!shape) return [];
  const tables = [
    [TOKENS, EMBEDDING],
    [HEAD, isTied(model) ? EMBEDDING : LM_HEAD],
  ] as const;
  return tables.flatMap(([path, weight]): Named[] =>
    [`${path}.weight`, `${path}.base_layer.weight`].map((name) => [name, { weight, role: "base", shape }]),
  );
}
