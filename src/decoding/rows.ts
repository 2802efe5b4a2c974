import type { PaliGemmaConfig } from "../model/config.js";
import { layoutOf, type ModelInputs } from "../model/inputs.js";
import { type DecodingOptions, type Ending, type FinishReason, finishOf, tokenLimits } from "./options.js";
import { requireRowMemory } from "./row-memory.js";
import type { History } from "./token-rule.js";
import { createSampler, type Sampler } from "./sampling.js";
import { requireWhole } from "../base/whole-number.js";

/** One answer on its way. */
export type Row = History & {
  /** The place of its prompt in the batch. */
  place: number;
  generated: number[];
  finished: FinishReason | null;
  /** The most tokens it may have. */
  limit: number;
  sampler: Sampler | null;
};

/**
 * The rows of a run, `copies` for each prompt, one after another. Every prompt draws as if it were alone: with a seed,
 * copy 0 of each has the same draws, and copy c those of the seed "{seed}/{c}". Throws `InputError` for options out of
 * range, and for more rows than there is memory for.
 */
export function startRows(
  config: PaliGemmaConfig,
  inputs: ModelInputs,
  options: DecodingOptions & { numBeams?: number | undefined },
): Row[] {
  const { copies = 1, numBeams = 1, seed } = options;
  requireWhole("copies", copies, 1);
  const prompts = realIds(inputs);
  const lengths = prompts.map(({ length }) => length);
  const limits = tokenLimits(lengths, config.text.maxPositionEmbeddings, options);
  requireRowMemory(config, {
    name: numBeams > 1 ? "numBeams" : copies > 1 ? "bestOf" : "batchSize",
    prompts: prompts.length,
    each: Math.max(numBeams, copies),
    positions: lengths.reduce((most, length, b) => Math.max(most, length + limits[b]!), 0),
  });
  const { temperature, topK, topP } = options;
  const seedOf = (copy: number) => (seed === undefined || copy === 0 ? seed : `${seed}/${copy}`);
  const sampler = (copy: number) => createSampler({ temperature, topK, topP, seed: seedOf(copy) });
  return prompts.flatMap((prompt, b) =>
    Array.from({ length: copies }, (_, copy) => ({
      place: b,
      prompt,
      generated: [],
      finished: null,
      limit: limits[b]!,
      sampler: sampler(copy),
    })),
  );
}

/** The ids of each row without its pads. */
export function realIds(inputs: ModelInputs): number[][] {
  const { attentionMask } = layoutOf(inputs);
  return inputs.inputIds.map((row, b) => row.filter((_, i) => attentionMask[b]![i] === 1));
}

/** Adds a token to a row, and notes whether the row ends with it. */
export function extendRow(row: Row, token: number, ending: Ending): void {
  row.generated.push(token);
  row.finished = finishOf(row.generated, { ...ending, limit: row.limit });
}

/** A generated token of each row as inputs: it stands behind the block and sees everything real before it. */
export const followUp = (tokens: readonly number[]): ModelInputs => ({
  pixelValues: null,
  inputIds: tokens.map((id) => [id]),
  tokenTypeIds: tokens.map(() => [1]),
});
