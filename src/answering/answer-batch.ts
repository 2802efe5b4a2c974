import { type Decoded, decodeAnswers } from "../decoding/answers.js";
import { GENERATION_KINDS, type GenerationOptions, inTokens } from "../decoding/text-options.js";
import { InputError } from "../base/errors.js";
import type { PaliGemmaModel } from "../model/model.js";
import { listed, number, type OptionKinds } from "../base/options.js";
import type { Processor } from "../input/processor.js";
import type { Tokenizer } from "../input/tokenizer/tokenizer.js";
import { inWords } from "./answer.js";
import type { Answer, Timings } from "./answer.js";
import { batchInputs, encodePicture } from "./batch-inputs.js";
import { EncodedPicture } from "./encoded-picture.js";
import { partsOf, type Picture, type Question } from "./question.js";
import { requireWhole } from "../base/whole-number.js";

/** How a list of questions is answered. */
export type BatchOptions = GenerationOptions & {
  /** Questions that are decoded at once. Default 8. More fill a GPU better, and take more memory. */
  batchSize?: number | undefined;
};

/** Of each of them. */
export const BATCH_KINDS: OptionKinds<BatchOptions> = { ...GENERATION_KINDS, batchSize: number };

/** What it takes to answer. */
export type Answerer = { model: PaliGemmaModel; processor: Processor; tokenizer: Tokenizer };

/** An answer without what all answers of a model share. */
export type BareAnswer = Omit<Answer, "backend" | "dtype">;

/** The default of `batchSize`, and of a batcher's `maxBatchSize`. */
export const DEFAULT_BATCH_SIZE = 8;

/**
 * Answers questions, or a single one, in their order, `batchSize` at a time; each answer is the one that its question
 * gets alone. A picture that is the same object, or the same path, in several questions is encoded once, unless `edits`
 * may want to change what the vision tower does. Throws `InputError` where one of the questions cannot be asked, and
 * the signal's reason when aborted.
 */
export async function answerQuestions(
  asked: Question | readonly Question[],
  answerer: Answerer,
  { batchSize = DEFAULT_BATCH_SIZE, ...options }: BatchOptions,
): Promise<BareAnswer[]> {
  const questions = listed(asked);
  requireWhole("batchSize", batchSize, 1);
  checkReturned(options);
  const shared = options.edits ? new Map<Picture, number>() : picturesOfSeveral(questions);
  const encoded = new Map<Picture, EncodedPicture>();
  try {
    const answers: BareAnswer[] = [];
    for (let from = 0; from < questions.length; from += batchSize) {
      const timer = startTimer();
      const group = questions.slice(from, from + batchSize).map(partsOf);
      for (const picture of group.flatMap(({ pictures }) => pictures)) {
        options.signal?.throwIfAborted();
        if (shared.has(picture) && !encoded.has(picture)) encoded.set(picture, await encodePicture(picture, answerer));
      }
      const ready = group.map(({ pictures, ...rest }) => ({
        image: pictures.map((one) => encoded.get(one) ?? one),
        ...rest,
      }));
      answers.push(...(await answerGroup(ready, answerer, options, timer)));
    }
    return answers;
  } finally {
    for (const picture of encoded.values()) picture.dispose();
  }
}

async function answerGroup(
  questions: readonly Question[],
  answerer: Answerer,
  options: GenerationOptions,
  timer: () => number,
): Promise<BareAnswer[]> {
  const { model, tokenizer } = answerer;
  const inputs = await batchInputs(questions, answerer);
  const preprocess = timer();
  let first = preprocess;
  try {
    const ids = inTokens(options, { tokenizer, eosTokenIds: model.config.eosTokenIds });
    const decoded = await decodeAnswers(model, inputs, ids, () => (first = timer()));
    const total = timer();
    const timings: Timings = { preprocess, prefill: first - preprocess, decode: total - first, total };
    return decoded.map((one, i) =>
      bare(one, tokenizer, options, { promptTokens: count(inputs.attentionMask![i]), timings }),
    );
  } finally {
    inputs.dispose();
  }
}

const bare = (
  decoded: Decoded,
  tokenizer: Tokenizer,
  options: GenerationOptions,
  { promptTokens, timings }: { promptTokens: number; timings: Timings },
): BareAnswer => {
  const { text, tokens, finishReason, ...rest } = inWords(decoded, tokenizer, options);
  return { text, tokens, promptTokens, finishReason, timings, ...rest };
};

const count = (mask: readonly number[]): number => mask.reduce((sum, real) => sum + real, 0);

// Pictures in more than one place, each with the number of places; an encoded one needs no more.
function picturesOfSeveral(questions: readonly Question[]): Map<Picture, number> {
  const places = new Map<Picture, number>();
  for (const picture of questions.flatMap((question) => partsOf(question).pictures)) {
    if (!(picture instanceof EncodedPicture)) places.set(picture, (places.get(picture) ?? 0) + 1);
  }
  return new Map([...places].filter(([, number]) => number > 1));
}

function checkReturned({ numReturnSequences = 1, numBeams = 1, bestOf = 1 }: GenerationOptions): void {
  requireWhole("bestOf", bestOf, 1);
  requireWhole("numReturnSequences", numReturnSequences, 1);
  const most = Math.max(numBeams, bestOf);
  if (numReturnSequences <= most) return;
  throw new InputError(
    `numReturnSequences: expected at most numBeams or bestOf, ${most}, received ${numReturnSequences}`,
  );
}

function startTimer(): () => number {
  const start = performance.now();
  return () => performance.now() - start;
}
