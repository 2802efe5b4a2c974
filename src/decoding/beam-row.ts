import { InputError } from "../base/errors.js";
import { checkOptions, either, flag, number, oneOf, type OptionKinds } from "../base/options.js";
import { largest } from "./log-probabilities.js";
import { type Ending, type FinishReason, finishOf } from "./options.js";
import type { Row } from "./rows.js";
import { requireWhole } from "../base/whole-number.js";

/** How beam search ranks and ends. */
export type BeamOptions = {
  /** Answers that are followed at once; above 1 turns beam search on. Default 1. */
  numBeams?: number | undefined;
  /** p in score = sum of log-probabilities / length^p, `<eos>` counted: above 0 favours long answers. Default 1. */
  lengthPenalty?: number | undefined;
  /**
   * When a prompt has as many finished answers as beams: true ends it at once; false (default) ends it when the best
   * running beam, scored at its present length, is behind the worst of them; "never" asks for the best that it could
   * still reach.
   */
  earlyStopping?: boolean | "never" | undefined;
};

/** Of each of them. */
export const BEAM_KINDS: OptionKinds<BeamOptions> = {
  numBeams: number,
  lengthPenalty: number,
  earlyStopping: either(flag, oneOf("never")),
};

/** A finished answer. */
export type Hypothesis = {
  tokens: number[];
  /** What it is ranked by. */
  score: number;
  /** Of each token; of beams after the rules, as they are ranked. */
  logProbabilities: number[];
  finishReason: FinishReason;
};

type Running = { generated: number[]; logProbabilities: number[]; score: number };
type Candidate = Running & { beam: number; finished: FinishReason | null };

/** What a row does next: which of its beams go on, and with which token. */
export type Continuation = { beam: number; token: number };

/**
 * Beam search for one prompt, apart from the model: takes the log-probabilities of each running beam's next token and
 * says how the beams go on. Of the (number of end ids + 1, at least 2) · numBeams best continuations, the best numBeams
 * that do not end run on; those among the first numBeams that do end are answers. Source: huggingface/transformers
 * 5.18, generation/utils.py (_beam_search and its helpers).
 */
export class BeamRow {
  private readonly numBeams: number;
  private readonly lengthPenalty: number;
  private readonly earlyStopping: boolean | "never";
  /** Best first. */
  running: Running[] = [{ generated: [], logProbabilities: [], score: 0 }];
  /** Best first, at most numBeams. */
  finished: Hypothesis[] = [];
  done = false;

  constructor(
    readonly row: Pick<Row, "prompt" | "limit"> & Partial<Pick<Row, "place">>,
    options: BeamOptions,
    private readonly ending: Ending,
  ) {
    const { numBeams, lengthPenalty, earlyStopping } = checkedBeamOptions(options);
    this.numBeams = numBeams;
    this.lengthPenalty = lengthPenalty;
    this.earlyStopping = earlyStopping;
  }

  /** Takes the scores [V] of each running beam's next token. Returns how beams go on; nothing once the row is done. */
  advance(scores: readonly Float32Array[]): Continuation[] {
    const candidates = this.candidates(scores);
    this.running = candidates.filter(({ finished }) => finished === null).slice(0, this.numBeams);
    for (const { generated, logProbabilities, score, finished } of candidates.slice(0, this.numBeams)) {
      if (finished === null) continue;
      const ranked = score / generated.length ** this.lengthPenalty;
      this.finished.push({ tokens: generated, score: ranked, logProbabilities, finishReason: finished });
    }
    this.finished.sort((a, b) => b.score - a.score); // stable: of equal ones the earlier stays
    this.finished.splice(this.numBeams);
    this.done = this.running.length === 0 || this.isDecided();
    return this.done
      ? []
      : (this.running as Candidate[]).map(({ beam, generated }) => ({ beam, token: generated.at(-1)! }));
  }

  private candidates(scores: readonly Float32Array[]): Candidate[] {
    const { eosTokenIds, stopRules } = this.ending;
    const count = Math.max(2, eosTokenIds.length + 1) * this.numBeams;
    const all = this.running.flatMap(({ score }, beam) =>
      largest(scores[beam], count).map((next) => ({ beam, next, score: score + next.score })),
    );
    all.sort((a, b) => b.score - a.score); // stable: of equal ones the lower beam, then the lower id
    return all.slice(0, count).map(({ beam, next, score }) => {
      const before = this.running[beam];
      const generated = [...before.generated, next.id];
      const logProbabilities = [...before.logProbabilities, next.score];
      const finished = finishOf(generated, { eosTokenIds, stopRules, limit: this.row.limit });
      return { beam, generated, logProbabilities, score, finished };
    });
  }

  // Whether no running beam can get among the finished answers any more, as far as this kind of stopping cares.
  private isDecided(): boolean {
    if (this.finished.length < this.numBeams) return false;
    if (this.earlyStopping === true) return true;
    const reachable = this.earlyStopping === "never" && this.lengthPenalty > 0;
    const length = reachable ? this.row.limit : this.running[0].generated.length;
    return this.running[0].score / length ** this.lengthPenalty <= this.finished.at(-1)!.score;
  }
}

/** The options with their defaults. Throws `InputError` for values out of range. */
export function checkedBeamOptions(
  options: BeamOptions,
): Required<{ [K in keyof BeamOptions]: NonNullable<BeamOptions[K]> }> {
  const { numBeams = 1, lengthPenalty = 1, earlyStopping = false } = checkOptions("beams", options, BEAM_KINDS);
  requireWhole("numBeams", numBeams, 1);
  if (!Number.isFinite(lengthPenalty)) {
    throw new InputError(`lengthPenalty: expected a finite number, received ${String(lengthPenalty)}`);
  }
  return { numBeams, lengthPenalty, earlyStopping };
}
