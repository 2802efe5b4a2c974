import * as tf from "@tensorflow/tfjs";

import { notFinite } from "../decoding/finite-logits.js";
import { InputError } from "../base/errors.js";
import type { ModelInputs } from "../model/inputs.js";
import type { PaliGemmaModel } from "../model/model.js";
import { abortSignal, checkOptions, described, listed, type OptionKinds } from "../base/options.js";
import { IGNORED_LABEL } from "../input/processor.js";
import type { Answerer } from "../answering/answer-batch.js";
import { batchInputs, encodePicture } from "../answering/batch-inputs.js";
import type { EncodedPicture } from "../answering/encoded-picture.js";
import { partsOf, type Question } from "../answering/question.js";

/** How likely a given answer is. */
export type ScoredAnswer = {
  answer: string;
  /** Ids of the answer, the end of the sequence included. */
  tokens: number[];
  /** log of the probability of each id after those before it, in nats. */
  logProbabilities: number[];
  /** Their sum: the log-likelihood of the answer. */
  logLikelihood: number;
  /** exp(-logLikelihood / tokens). */
  perplexity: number;
};

/** What may stop the scoring. */
export type ScoreOptions = { signal?: AbortSignal | undefined };

const SCORE_KINDS: OptionKinds<ScoreOptions> = { signal: abortSignal };

/**
 * The log-likelihood of given answers to one question: each is read as what follows the prompt, `<eos>` included, and
 * costs one pass; the pictures are encoded once, and their rows are shared. (Keys and values of the prompt could not
 * be: under the prefix mask they do not depend on the answer, but the cache that holds them belongs to one run.) Throws
 * `InputError` without answers, and `WeightsError` where a log-probability is not finite.
 */
export async function scoreAnswers(
  question: Question,
  asked: string | readonly string[],
  answerer: Answerer,
  options: ScoreOptions = {},
): Promise<ScoredAnswer[]> {
  const { signal } = checkOptions("score", options, SCORE_KINDS);
  const answers = listed(asked);
  if (answers.length === 0) throw new InputError("answers: expected at least one, received none");
  const wrong = answers.findIndex((answer) => typeof answer !== "string");
  if (wrong >= 0) throw new InputError(`answers[${wrong}]: expected text, received ${described(answers[wrong])}`);
  const { pictures, ...rest } = partsOf(question);
  const encoded: EncodedPicture[] = [];
  try {
    for (const picture of pictures) encoded.push(await encodePicture(picture, answerer));
    const scored: ScoredAnswer[] = [];
    for (const answer of answers) {
      const { labels, ...inputs } = await batchInputs([{ image: encoded, ...rest }], answerer, [answer]);
      try {
        scored.push(await scoreOne(answerer.model, answer, inputs, labels![0]!, signal));
      } finally {
        inputs.dispose();
      }
    }
    return scored;
  } finally {
    encoded.forEach((picture, i) => picture !== pictures[i] && picture.dispose());
  }
}

async function scoreOne(
  model: PaliGemmaModel,
  answer: string,
  inputs: ModelInputs,
  labels: readonly number[],
  signal: AbortSignal | undefined,
): Promise<ScoredAnswer> {
  const from = labels.findIndex((label) => label !== IGNORED_LABEL);
  const tokens = labels.slice(from);
  const logits = await model.forwardAsync(inputs, { signal });
  const chosen = tf.tidy(() => {
    const V = logits.shape[2]!;
    // A position's logits are about the token behind it.
    const rows = logits.slice([0, from - 1, 0], [1, tokens.length, V]).reshape([tokens.length, V]) as tf.Tensor2D;
    const own = rows.mul(tf.oneHot(tf.tensor1d(tokens, "int32"), V)).sum(-1);
    return own.sub(rows.logSumExp(-1));
  });
  logits.dispose();
  const logProbabilities = Array.from(await chosen.data());
  chosen.dispose();
  const lost = logProbabilities.findIndex((value) => !Number.isFinite(value));
  if (lost >= 0) {
    throw notFinite(
      `score: expected a log-probability at token ${lost + 1} of ${described(answer)}`,
      logProbabilities[lost]!,
    );
  }
  const logLikelihood = logProbabilities.reduce((sum, value) => sum + value, 0);
  return { answer, tokens, logProbabilities, logLikelihood, perplexity: Math.exp(-logLikelihood / tokens.length) };
}
