import { InputError } from "../base/errors.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import type { BeamOptions, Hypothesis } from "./beam-row.js";
import { beamSearch } from "./beam-search.js";
import { decode } from "./decode.js";
import { isSampling } from "./sampling.js";
import type { LikelyToken } from "./log-probabilities.js";
import { type DecodingOptions, type FinishReason } from "./options.js";

/** What decoding has given for one prompt. */
export type Decoded = {
  tokens: number[];
  finishReason: FinishReason;
  /** Of each token; null unless asked for. */
  logProbabilities: number[] | null;
  /** At each place; null unless asked for. */
  likeliest: LikelyToken[][] | null;
  /** Best first; null where there was one answer only. */
  ranked: Hypothesis[] | null;
};

/**
 * Whole answers to a batch: by beams where `numBeams` is above 1, the best of `copies` where that is, else one for each
 * prompt. `onFirst` is called when the pass over the prompts is done. Throws as `decode` and `beamSearch` do.
 */
export async function decodeAnswers(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: DecodingOptions & BeamOptions,
  onFirst: () => void = () => {},
): Promise<Decoded[]> {
  const { numBeams = 1, lengthPenalty, earlyStopping, ...rest } = options;
  if (numBeams !== 1) {
    const found = await beamSearch(model, inputs, { ...rest, numBeams, lengthPenalty, earlyStopping }, onFirst);
    return found.map((ranked) => best(ranked, rest.logProbabilities === true));
  }
  const { copies = 1 } = rest;
  if (!(copies > 1)) return collect(model, inputs, rest, onFirst);
  if (!isSampling(rest)) {
    throw new InputError("bestOf: expected temperature, topK or topP beside it; without them all answers are the same");
  }
  const all = await collect(model, inputs, { ...rest, logProbabilities: true }, onFirst);
  const groups = inputs.inputIds.map((_, b) => all.slice(b * copies, (b + 1) * copies));
  return groups.map((answers) => {
    const chosen = best(ranking(answers), rest.logProbabilities === true);
    return { ...chosen, likeliest: answers.find(({ tokens }) => tokens === chosen.tokens)!.likeliest };
  });
}

async function collect(
  model: PaliGemmaModel,
  inputs: ModelInputs,
  options: DecodingOptions,
  onFirst: () => void,
): Promise<Decoded[]> {
  const rows: Decoded[] = [];
  const empty = (): Decoded => ({
    tokens: [],
    finishReason: "length",
    logProbabilities: options.logProbabilities ? [] : null,
    likeliest: options.topLogProbabilities ? [] : null,
    ranked: null,
  });
  const ended = new Set<Decoded>();
  for await (const step of decode(model, inputs, options)) {
    if (rows.length === 0) {
      onFirst();
      rows.push(...step.tokens.map(empty));
    }
    rows.forEach((row, i) => {
      if (ended.has(row)) return;
      row.tokens.push(step.tokens[i]);
      row.logProbabilities?.push(step.logProbabilities![i]);
      row.likeliest?.push(step.likeliest![i]);
      const finished = step.finished[i];
      if (finished === null) return;
      row.finishReason = finished;
      ended.add(row);
    });
  }
  return rows;
}

function best(ranked: Hypothesis[], withLogProbabilities: boolean): Decoded {
  const [{ tokens, finishReason, logProbabilities }] = ranked;
  return {
    tokens,
    finishReason,
    logProbabilities: withLogProbabilities ? logProbabilities : null,
    likeliest: null,
    ranked,
  };
}

function ranking(answers: readonly Decoded[]): Hypothesis[] {
  const ranked = answers.map(({ tokens, finishReason, logProbabilities }) => {
    const values = logProbabilities!;
    const score = values.reduce((sum, value) => sum + value, 0) / values.length;
    return { tokens, score, logProbabilities: values, finishReason };
  });
  return ranked.sort((a, b) => b.score - a.score);
}
