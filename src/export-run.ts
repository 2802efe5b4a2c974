import type { TensorData } from "../weights/safetensors.js";
import { writeSafetensors } from "../weights/safetensors.js";
import type { CachedRun, PaliGemma } from "./paligemma.js";
import { describeSegments } from "./segments.js";
import { packageVersion } from "./version.js";

/** Version of the hook names and of the metadata keys; it rises when a name changes its meaning. */
export const EXPORT_SCHEMA = "1";

/** What the file says about the run besides what the run knows itself. */
export type RunDescription = {
  prompt: string;
  /** Sizes of the pictures before they were squashed. */
  imageSizes: readonly { width: number; height: number }[];
};

/**
 * Writes a run's activations as a safetensors file, F32 under their hook names, with string metadata: `schema`, `model`,
 * `revision`, `dtype`, `backend`, `tokens`, `token_strings`, `prompt`, `segments`, `grid`, `image_size_original`,
 * `pos_slice`, `step`, `settings`, `interventions`, `git` (structured ones as JSON; unknown ones empty). Nothing is left half written.
 */
export async function exportRun(path: string, model: PaliGemma, run: CachedRun, about: RunDescription): Promise<void> {
  const tensors = new Map<string, TensorData>();
  for (const [name, tensor] of run.cache.entries()) {
    const values = Float32Array.from(await tensor.data());
    tensors.set(name, { dtype: "F32", shape: [...tensor.shape], data: new Uint8Array(values.buffer) });
  }
  await writeSafetensors(path, tensors, metadata(model, run, about));
}

function metadata(model: PaliGemma, run: CachedRun, about: RunDescription): Record<string, string> {
  const spell = (id: number) => model.tokenizer.idToToken(id) ?? "";
  return {
    schema: EXPORT_SCHEMA,
    model: model.name,
    revision: "",
    dtype: model.dtype,
    backend: model.backend,
    tokens: JSON.stringify(run.tokens),
    token_strings: JSON.stringify(run.tokens.map((row) => row.map(spell))),
    prompt: about.prompt,
    segments: run.segments.map(describeSegments).join("\n"),
    grid: run.grid.join("x"),
    image_size_original: JSON.stringify(about.imageSizes.map(({ width, height }) => [width, height])),
    pos_slice: "all",
    step: "0",
    settings: JSON.stringify(model.network.settings),
    interventions: "[]",
    git: `paligemma-tfjs ${packageVersion()}`,
  };
}
