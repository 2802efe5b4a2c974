import type { AdapterConfig } from "./config.js";
import { type AdaptableModule, HEAD, TOKENS } from "./modules.js";
import type { MatchBudget } from "./match-budget.js";
import { matchStarts, type PythonPattern } from "./python-regex.js";

/** A module with its path as the adapter's trainer spelled it. */
export type SpelledModule = AdaptableModule & { readonly spelled: string };

/** A target with the rank and the scale of its adapter: alpha / r, or alpha / sqrt(r). */
export type Target = SpelledModule & { readonly rank: number; readonly scale: number };

/** What errors call the config, and the time that is left for what it names. */
export type Place = { readonly where: string; readonly budget: MatchBudget };

/**
 * The modules that a config means, by PEFT's own rules. Throws `WeightsError` for an expression that cannot be read.
 * Source: peft 0.21, tuners/tuners_utils.py `check_target_module_exists`, `_maybe_include_all_linear_layers`;
 * utils/other.py `get_pattern_key`; tuners/lora/model.py `_add_targets_to_tie`.
 */
export function targetsOf(modules: readonly SpelledModule[], config: AdapterConfig, place: Place): Target[] {
  const kept = withoutExcluded(modules, config, place);
  const meant = new Set([...meantBy(kept, config, place), ...tied(kept, config, place)]);
  const targets = kept.filter((module) => meant.has(module));
  const numbers = (field: "rank_pattern" | "alpha_pattern", default_: number) =>
    patternNumbers(
      targets,
      config[field === "rank_pattern" ? "rankPattern" : "alphaPattern"],
      default_,
      at(place, field),
    );
  const [ranks, alphas] = [numbers("rank_pattern", config.r), numbers("alpha_pattern", config.loraAlpha)];
  return targets.map((module, i) => ({
    ...module,
    rank: ranks[i],
    scale: alphas[i] / (config.useRslora ? Math.sqrt(ranks[i]) : ranks[i]),
  }));
}

/** `re.fullmatch` for an expression, else the end of the path, at a dot. */
function named(
  modules: readonly SpelledModule[],
  wanted: string | readonly string[],
  place: Place,
): readonly SpelledModule[] {
  if (typeof wanted !== "string") {
    const names = new Set(wanted);
    return modules.filter(({ spelled }) => suffixes(spelled).some((suffix) => names.has(suffix)));
  }
  return matching(modules, [`(?:${wanted})$`], place);
}

function meantBy(modules: readonly SpelledModule[], config: AdapterConfig, place: Place): readonly SpelledModule[] {
  const { targetModules, layersToTransform } = config;
  if (typeof targetModules === "string" && targetModules.toLowerCase() === "all-linear") {
    return modules.filter(({ kind, path }) => kind === "linear" && path !== HEAD);
  }
  const found = named(modules, targetModules, at(place, "target_modules"));
  if (layersToTransform === null) return found;
  // A whole path in the list is meant in every layer.
  const whole = new Set(targetModules);
  const wanted = new Set(layersToTransform);
  const indices = layerIndices(found, config.layersPattern, at(place, "layers_pattern"));
  return found.filter(({ spelled }, i) => whole.has(spelled) || (indices[i] !== null && wanted.has(indices[i])));
}

/** The first number in each path that stands behind a list of layers; null where there is none. */
function layerIndices(
  modules: readonly SpelledModule[],
  patterns: readonly string[],
  { where, budget }: Place,
): (number | null)[] {
  const sources = patterns.length === 0 ? [".*?\\.[^.]*"] : patterns.map((pattern) => `(?:.*?\\.)?(?:${pattern})`);
  const found = matchStarts(
    sources.map((source) => ({ source: `${source}\\.(\\d+)\\.`, where })),
    modules.map(({ spelled }) => spelled),
    budget,
  );
  return modules.map((_, i) => {
    const index = found.map((row) => row[i]).find((text) => text !== null);
    return index === undefined ? null : Number(index);
  });
}

/** Modules that are neither excluded nor, with all below them, stored whole. */
function withoutExcluded(
  modules: readonly SpelledModule[],
  { excludeModules, modulesToSave }: AdapterConfig,
  place: Place,
): SpelledModule[] {
  const excluded = new Set(
    excludeModules.length === 0 ? [] : named(modules, excludeModules, at(place, "exclude_modules")),
  );
  const saved = modulesToSave.map((name) => `(?:^|.*\\.)${name}(?:$|\\..*)`);
  for (const module of matching(modules, saved, at(place, "modules_to_save"))) excluded.add(module);
  return modules.filter((module) => !excluded.has(module));
}

/** With `ensure_weight_tying` a target among embedding and head means both. */
function tied(modules: readonly SpelledModule[], config: AdapterConfig, place: Place): readonly SpelledModule[] {
  const { ensureWeightTying, targetModules } = config;
  if (!ensureWeightTying || savesEmbedding(config)) return [];
  const names = ["embed_tokens", "lm_head"];
  const meant =
    typeof targetModules === "string"
      ? matchesSome(targetModules, names, at(place, "target_modules"))
      : targetModules.some((target) => names.includes(lastName(target)));
  return meant ? modules.filter(({ path }) => path === HEAD || path === TOKENS) : [];
}

function matchesSome(pattern: string, names: readonly string[], { where, budget }: Place): boolean {
  return matchStarts([{ source: `(?:${pattern})$`, where }], names, budget)[0].some((found) => found !== null);
}

/** Whether `modules_to_save` names the embedding or the output head. */
export const savesEmbedding = ({ modulesToSave }: AdapterConfig): boolean =>
  modulesToSave.some((saved) => ["embed_tokens", "lm_head"].includes(lastName(saved)));

/** The number of the first pattern that fits the end of each path, at a dot. */
function patternNumbers(
  modules: readonly SpelledModule[],
  patterns: AdapterConfig["rankPattern"],
  default_: number,
  { where, budget }: Place,
): number[] {
  const found = matchStarts(
    patterns.map(([pattern]) => ({ source: `(?:.*\\.)?(?:${pattern})$`, where })),
    modules.map(({ spelled }) => spelled),
    budget,
  );
  return modules.map((_, i) => patterns.find((_pattern, p) => found[p][i] !== null)?.[1] ?? default_);
}

/** The modules that one of the expressions matches. */
function matching(
  modules: readonly SpelledModule[],
  sources: readonly string[],
  { where, budget }: Place,
): SpelledModule[] {
  const patterns: PythonPattern[] = sources.map((source) => ({ source, where }));
  const found = matchStarts(
    patterns,
    modules.map(({ spelled }) => spelled),
    budget,
  );
  return modules.filter((_, i) => found.some((row) => row[i] !== null));
}

const at = ({ where, budget }: Place, field: string): Place => ({ where: `${where}: ${field}`, budget });

const lastName = (path: string): string => path.slice(path.lastIndexOf(".") + 1);

/** A path, and what is left of it behind each dot. */
function suffixes(path: string): string[] {
  const parts = path.split(".");
  return parts.map((_, i) => parts.slice(i).join("."));
}
