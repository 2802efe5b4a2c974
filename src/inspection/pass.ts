import type { PaliGemmaConfig } from "../config.js";
import { layoutOf, type ModelInputs } from "../inputs.js";
import { type Segment, segmentsOf } from "../segments.js";
import { type Positions, resolvePositions, type Row } from "./positions.js";

/** Where one forward pass of a run stands: its queries are the positions [from, to), its keys [0, to). */
export type Pass = {
  /** 0 for the prompt, then one for each generated token. */
  step: number;
  from: number;
  to: number;
  /** Segments of the prompt, for each row. */
  segments: readonly (readonly Segment[])[];
  /** Text positions of the prompt for each row, in reading order. */
  texts: readonly (readonly number[])[];
};

/** Some pass, for what means every position: then nothing of it is read. */
export const WHOLE: Pass = { step: 0, from: 0, to: 0, segments: [], texts: [] };

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
  return { step: 0, from: 0, to: inputs.inputIds[0]?.length ?? 0, segments, texts };
}

/** The pass over one generated token, `step` of them behind the prompt. */
export const laterPass = (prompt: Pass, step: number): Pass => ({
  ...prompt,
  step,
  from: prompt.to + step - 1,
  to: prompt.to + step,
});

/** The rows of a pass as selectors count them; `prompt` is what its first pass had. */
export function rowsOf(pass: Pass): Row[] {
  const prompt = pass.step === 0 ? pass.to : pass.from - pass.step + 1;
  return pass.segments.map((segments) => ({ length: pass.to, prompt, segments }));
}

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
