import { setImmediate as nextTurn } from "node:timers/promises";

import { WeightsError } from "../../weights/errors.js";
import { GENERATION_KINDS, type GenerationOptions } from "../decoding/text-options.js";
import { InputError } from "../base/errors.js";
import { checkOptions, number, type OptionKinds } from "../base/options.js";
import type { Answer } from "./answer.js";
import { type BatchOptions, DEFAULT_BATCH_SIZE } from "./answer-batch.js";
import type { Question } from "./question.js";
import { requireWhole } from "../base/whole-number.js";

/** How calls are grouped. */
export type BatcherOptions = {
  /** The most questions that are decoded at once. Default 8. */
  maxBatchSize?: number | undefined;
};

/** What a batcher asks: anything that answers questions as `PaliGemma.generateBatch` does. */
export type Answering = {
  generateBatch(questions: readonly Question[], options?: BatchOptions): Promise<Answer[]>;
};

const BATCHER_KINDS: OptionKinds<BatcherOptions> = { maxBatchSize: number };

type Call = {
  question: Question;
  options: GenerationOptions;
  /** Calls of the same kind may share a batch; null: none may. */
  kind: string | null;
  resolve: (answer: Answer) => void;
  reject: (reason: unknown) => void;
};

/**
 * Groups concurrent `generate` calls: those that wait while a batch runs make up the next one, oldest first, as far as
 * they decode in the same way. Nobody waits for others to come: a call on an idle model starts at once, together with
 * those of the same turn. Each call gets the answer, or the error, that it would get alone. An aborted call rejects at
 * once; where it runs already, its row ends with its batch, or at once where all calls of the batch are aborted.
 */
export class Batcher {
  private readonly waiting: Call[] = [];
  private running = false;
  private readonly maxBatchSize: number;

  /** The model stays the caller's. Throws `InputError` for a size below 1. */
  constructor(
    private readonly model: Answering,
    options: BatcherOptions = {},
  ) {
    const { maxBatchSize = DEFAULT_BATCH_SIZE } = checkOptions("batcher", options, BATCHER_KINDS);
    requireWhole("maxBatchSize", maxBatchSize, 1);
    this.maxBatchSize = maxBatchSize;
  }

  /** `PaliGemma.generate`, in a batch with others where there are any. */
  generate(question: Question, options: GenerationOptions = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const { signal } = checkOptions("generate", options, GENERATION_KINDS);
      if (signal?.aborted) return reject(signal.reason as Error);
      const over = new AbortController(); // a signal may outlive its calls, which then must not listen to it
      const call: Call = {
        question,
        options,
        kind: kindOf(options),
        resolve: (answer) => (over.abort(), resolve(answer)),
        reject: (reason) => (over.abort(), reject(reason as Error)),
      };
      signal?.addEventListener("abort", () => this.drop(call, signal.reason), { signal: over.signal });
      this.waiting.push(call);
      if (!this.running) void this.run();
    });
  }

  private drop(call: Call, reason: unknown): void {
    const at = this.waiting.indexOf(call);
    if (at >= 0) this.waiting.splice(at, 1);
    call.reject(reason);
  }

  private async run(): Promise<void> {
    this.running = true;
    await nextTurn(); // calls of this turn come together
    while (this.waiting.length > 0) await this.answer(this.nextBatch());
    this.running = false;
  }

  private nextBatch(): Call[] {
    const [{ kind }] = this.waiting;
    const chosen = this.waiting.filter((call, i) => i === 0 || (kind !== null && call.kind === kind));
    chosen.splice(this.maxBatchSize);
    for (const call of chosen) this.waiting.splice(this.waiting.indexOf(call), 1);
    return chosen;
  }

  private async answer(calls: readonly Call[]): Promise<void> {
    const over = new AbortController();
    try {
      const [{ options }] = calls;
      const signal = whenAll(
        calls.map((call) => call.options.signal),
        over.signal,
      );
      const questions = calls.map(({ question }) => question);
      const answers = await this.model.generateBatch(questions, { ...options, signal, batchSize: calls.length });
      calls.forEach(({ resolve }, i) => resolve(answers[i]));
    } catch (error) {
      // One question that cannot be asked, or whose logits are not finite, must not be another's error.
      const isOfOne = error instanceof InputError || error instanceof WeightsError;
      if (calls.length > 1 && isOfOne) for (const call of calls) await this.answer([call]);
      else for (const { reject } of calls) reject(error);
    } finally {
      over.abort();
    }
  }
}

// Options that can be compared by their text; functions and tensors cannot.
function kindOf(options: GenerationOptions): string | null {
  if (typeof options.allowedTokens === "function" || options.edits?.length) return null;
  const entries = Object.entries(options).filter(([name]) => name !== "signal");
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

// A signal that is aborted once all of several are, until `over`; none where one cannot be.
function whenAll(signals: readonly (AbortSignal | undefined)[], over: AbortSignal): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined);
  if (given.length < signals.length) return undefined;
  const all = new AbortController();
  const check = () => {
    const last = given.find(({ aborted }) => !aborted) === undefined ? given.at(-1) : undefined;
    if (last) all.abort(last.reason);
  };
  for (const signal of given) signal.addEventListener("abort", check, { signal: over });
  check();
  return all.signal;
}
