import type { PaliGemmaConfig } from "../model/config.js";
import { layoutOf, type ModelInputs } from "../model/inputs.js";
import { type Segment, segmentsOf } from "../model/segments.js";
import { type Positions, resolvePositions, type Row } from "./positions.js";

/** Where one forward pass of a run stands: its queries are the positions [from, to), its keys [0, to). */
export type Pass = {
  /** 0 for the prompt, then one for each generated token. */
  step: number;
  from: number;
  to: number;
  /** Positions of the prompt. */
  prompt: number;
  /** Whether only the last query meets the final norm and the output projection, as in generation. */
  lastRowOnly: boolean;
  /** Segments of the prompt, for each row. */
  segments: readonly (readonly Segment[])[];
  /** Text positions of the prompt for each row, in reading order. */
  texts: readonly (readonly number[])[];
};

/** Some pass, for what means every position: then nothing of it is read. */
export const WHOLE: Pass = { step: 0, from: 0, to: 0, prompt: 0, lastRowOnly: false, segments: [], texts: [] };

/** The pass over a whole prompt. */
export function promptPass(config: PaliGemmaConfig, inputs: ModelInputs): Pass {
  const { imageTokenId, bosTokenId } = config;
  const { attentionMask, tokenTypeIds } = layoutOf(inputs);
  const segments = inputs.inputIds.map((inputIds, b) =>
    segmentsOf({
      inputIds,
      attentionMask: attentionMask[b]!,
      tokenTypeIds: tokenTypeIds[b]!,
      imageTokenId,
      bosTokenId,
    }),
  );
  const texts = inputs.inputIds.map((row) => row.flatMap((id, i) => (id === imageTokenId ? [] : [i])));
  const prompt = inputs.inputIds[0]?.length ?? 0;
  return { step: 0, from: 0, to: prompt, prompt, lastRowOnly: false, segments, texts };
}

/** The pass over one generated token, `step` of them behind the prompt. */
export const laterPass = (prompt: Pass, step: number): Pass => ({
  ...prompt,
  step,
  from: prompt.to + step - 1,
  to: prompt.to + step,
});

/** A pass whose rows come `copies` times each, one after another. */
export const repeatedRows = (pass: Pass, copies: number): Pass => {
  const repeated = <One>(rows: readonly One[]) => rows.flatMap((row) => Array.from({ length: copies }, () => row));
  return { ...pass, segments: repeated(pass.segments), texts: repeated(pass.texts) };
};

/** The part of a pass that an activation shows: the final ones may show its last query alone. */
export const seenAt = (name: string, pass: Pass): Pass =>
  pass.lastRowOnly && /^language\.(ln_final|unembed)\./.test(name) ? { ...pass, from: pass.to - 1 } : pass;

/** The rows of a pass as selectors count them. */
export const rowsOf = ({ to, prompt, segments }: Pass): Row[] =>
  segments.map((row) => ({ length: to, prompt, segments: row }));

/** The queries of a pass that a selector means, for each row, counted from the pass's first. */
export function queriesOf(pass: Pass, positions: Positions, what: string): number[][] {
  const { from, to } = pass;
  return rowsOf(pass).map((row) =>
    resolvePositions(positions, row, what)
      .filter((at) => at >= from && at < to)
      .map((at) => at - from),
  );
}

/** The keys of a pass that a selector means, for each row. */
export const keysOf = (pass: Pass, positions: Positions, what: string): number[][] =>
  rowsOf(pass).map((row) => resolvePositions(positions, row, what));
