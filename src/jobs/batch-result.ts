import type { FinishReason } from "../decoding/options.js";
import type { Answer } from "../answering/answer.js";
import { type Detection, readDetections } from "../tasks/detect.js";
import type { Tokenizer } from "../input/tokenizer/tokenizer.js";

/** What a line's answer is written as; `objects` and `warnings` as `Detections` has them. */
export type BatchAnswer = {
  id: string;
  prompt: string;
  text: string;
  finishReason: FinishReason;
  /** Ids of the prompt, those of its pictures included. */
  promptTokens: number;
  /** The new ids. */
  tokens: number[];
  /**
   * Where the answer holds locations and the question one picture: with several it is not said whose pixels they are.
   */
  objects?: Detection[];
  /** What was odd about the objects. */
  warnings?: string[];
};

/** What is written for a line that cannot be asked. */
export type BatchFailure = { id: string; error: { name: string; message: string } };

/** One line of a file of answers. */
export type BatchResult = BatchAnswer | BatchFailure;

/** Whether a line could not be asked. */
export const isFailure = (result: BatchResult): result is BatchFailure => "error" in result;

/** An error as a line. */
export const failureOf = (id: string, { name, message }: Error): BatchFailure => ({ id, error: { name, message } });

/** An answer with log-probabilities as a line. `sizes`: of the question's pictures, upright, in pixels. */
export function resultOf(
  { id, prompt }: { id: string; prompt: string },
  { text, finishReason, promptTokens, tokens, logProbabilities = [] }: Answer,
  { sizes, tokenizer }: { sizes: readonly { width: number; height: number }[]; tokenizer: Tokenizer },
): BatchAnswer {
  const answer: BatchAnswer = { id, prompt, text, finishReason, promptTokens, tokens };
  if (sizes.length !== 1 || !/<loc\d{4}>/.test(text)) return answer;
  const { objects, warnings } = readDetections({ tokens, logProbabilities, tokenizer, size: sizes[0] });
  return { ...answer, objects, ...(warnings.length > 0 && { warnings }) };
}
