import type { Answer } from "../answering/answer.js";
import type { Tokenizer } from "../input/tokenizer/tokenizer.js";
import { type Detections, readDetections, type ReadingOptions } from "./detect.js";
import { promptHint, type TaskName, taskOf } from "../grammar/prompts.js";

/** An answer to any prompt, and what can be read from it. */
export type Reply = Answer & {
  /** The task that the prompt asks for by its first word, or null for free text. */
  task: TaskName | null;
  /** What the prompt may have meant, where it looks like a misspelt task. */
  hint: string | null;
  /** The objects of an answer that holds locations, whatever was asked; else null. */
  found: Detections | null;
};

/** Reads an answer that was generated with `logProbabilities`, about a picture of that size. */
export function readReply(
  answer: Answer,
  prompt: string,
  { tokenizer, size, divisor, maxOverlap }: ReplySource,
): Reply {
  const { tokens, logProbabilities = [] } = answer;
  const hasLocations = /<loc\d{4}>/.test(answer.text);
  const found = hasLocations
    ? readDetections({ tokens, logProbabilities, tokenizer, size }, { divisor, maxOverlap })
    : null;
  return { ...answer, task: taskOf(prompt), hint: promptHint(prompt), found };
}

type ReplySource = ReadingOptions & {
  tokenizer: Tokenizer;
  size: { width: number; height: number };
};
