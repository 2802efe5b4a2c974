import { anything, checkOptions, list, type OptionKinds, text } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import { describeSegments, type Segment } from "../model/segments.js";
import { packageVersion } from "../base/version.js";
import type { ActivationCache } from "../hooks/activation-cache.js";
import type { Edit } from "../hooks/edit.js";
import type { Positions } from "../hooks/positions.js";
import { writeRun } from "./run-files.js";
import type { StoredTensor } from "../inspection/stored-run.js";

/** Version of the hook names and of the metadata keys; it rises when a name changes its meaning. */
export const EXPORT_SCHEMA = "1";

/** What the file says about the run besides what its activations know themselves. */
export type RunDescription = {
  prompt: string;
  /** Sizes of the pictures before they were squashed. */
  imageSizes: readonly { width: number; height: number }[];
  /** The ids of each row, generated ones included, and the segments of each row's prompt. */
  tokens: readonly (readonly number[])[];
  segments: readonly (readonly Segment[])[];
  grid: readonly [number, number];
  /** Which positions and keys were kept; default all. */
  positions?: Positions | undefined;
  keys?: Positions | undefined;
  edits?: readonly Edit[] | undefined;
};

const DESCRIPTION_KINDS: OptionKinds<RunDescription> = {
  prompt: text,
  imageSizes: list,
  tokens: list,
  segments: list,
  grid: list,
  positions: anything,
  keys: anything,
  edits: list,
};

/** The activations of one pass: `step` 0 is the prompt's. */
export type KeptPass = { step: number; cache: ActivationCache };

/**
 * Writes the activations of a run, F32, under their hook names; those of a generated token's pass with "@step" behind
 * the name. The form follows the file's ending (`writeRun`). String metadata: `schema`, `model`, `revision`, `dtype`,
 * `backend`, `tokens`, `token_strings`, `prompt`, `segments`, `grid`, `image_size_original`, `pos_slice`, `key_slice`,
 * `step`, `settings`, `interventions`, `git` (structured ones as JSON; unknown ones empty). Nothing is left half
 * written.
 */
export async function exportRun(
  path: string,
  model: PaliGemma,
  passes: readonly KeptPass[],
  about: RunDescription,
): Promise<void> {
  checkOptions("exportRun", about, DESCRIPTION_KINDS);
  await writeRun(path, await tensorsOf(passes), metadata(model, passes, about));
}

/** Name and numbers of every activation of some passes. */
export async function tensorsOf(passes: readonly KeptPass[]): Promise<Map<string, StoredTensor>> {
  const tensors = new Map<string, StoredTensor>();
  for (const { step, cache } of passes) {
    for (const name of cache.names) {
      const { shape } = cache.describe(name);
      tensors.set(step === 0 ? name : `${name}@${step}`, { shape: [...shape], data: await cache.values(name) });
    }
  }
  return tensors;
}

function metadata(model: PaliGemma, passes: readonly KeptPass[], about: RunDescription): Record<string, string> {
  const spell = (id: number) => model.tokenizer.idToToken(id) ?? "";
  return {
    schema: EXPORT_SCHEMA,
    model: model.name,
    revision: "",
    dtype: model.dtype,
    backend: model.backend,
    tokens: JSON.stringify(about.tokens),
    token_strings: JSON.stringify(about.tokens.map((row) => row.map(spell))),
    prompt: about.prompt,
    segments: about.segments.map(describeSegments).join("\n"),
    grid: about.grid.join("x"),
    image_size_original: JSON.stringify(about.imageSizes.map(({ width, height }) => [width, height])),
    pos_slice: inWords(about.positions),
    key_slice: inWords(about.keys),
    step: passes.map(({ step }) => step).join(","),
    settings: JSON.stringify(model.network.settings),
    interventions: JSON.stringify(about.edits ?? []),
    git: `paligemma-tfjs ${packageVersion()}`,
  };
}

const inWords = (positions: Positions | undefined): string => (positions === undefined ? "all" : String(positions));
