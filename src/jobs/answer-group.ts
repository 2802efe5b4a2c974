import { InputError } from "../base/errors.js";
import type { PaliGemma } from "../paligemma.js";
import { type BatchResult, failureOf, resultOf } from "./batch-result.js";
import type { Group } from "./length-buckets.js";
import type { ReadyLine } from "./load-pictures.js";

/** What of a model a batch needs. */
export type BatchModel = Pick<PaliGemma, "generateBatch" | "processor" | "tokenizer" | "config">;

/** How lines are answered. */
export type AskOptions = { maxNewTokens: number | undefined; signal: AbortSignal | undefined };

/**
 * The answers to a group, and the failures of what is refused. Where the model refuses the group, its lines are asked
 * one by one, so that only the wrong ones fail. Throws what is no `InputError`, and the signal's reason when aborted.
 */
export async function askGroup(
  model: BatchModel,
  { asked, refused }: Group<ReadyLine>,
  options: AskOptions,
): Promise<BatchResult[]> {
  const failures = refused.map(({ id, error }) => failureOf(id, error));
  return [...(await answersTo(model, asked, options)), ...failures];
}

async function answersTo(model: BatchModel, lines: readonly ReadyLine[], options: AskOptions): Promise<BatchResult[]> {
  if (lines.length === 0) return [];
  try {
    return await answered(model, lines, options);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    if (lines.length === 1) return [failureOf(lines[0]!.id, error)];
    const results: BatchResult[] = [];
    for (const line of lines) results.push(...(await answersTo(model, [line], options)));
    return results;
  }
}

async function answered(model: BatchModel, lines: readonly ReadyLine[], options: AskOptions): Promise<BatchResult[]> {
  const questions = lines.map(({ prompt, pictures }) => ({ prompt, image: pictures.map(({ image }) => image) }));
  const answers = await model.generateBatch(questions, {
    ...options,
    batchSize: lines.length,
    logProbabilities: true, // the scores of objects are made of them
  });
  return lines.map((line, i) => {
    const sizes = line.pictures.map(({ size }) => size);
    return resultOf(line, answers[i]!, { sizes, tokenizer: model.tokenizer });
  });
}
