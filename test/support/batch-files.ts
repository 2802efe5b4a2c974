import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import type { BatchModel } from "../../src/jobs/answer-group.js";
import type { BatchResult } from "../../src/jobs/batch-result.js";
import type { Processor } from "../../src/input/processor.js";
import type { BatchOptions } from "../../src/answering/answer-batch.js";
import type { Question } from "../../src/answering/question.js";

/** A folder that is there from the first test of a suite to its last. */
export function scratchFolder(): (...names: string[]) => string {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), "paligemma-batch-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  return (...names) => path.join(folder, ...names);
}

/** Writes values as lines of JSON. */
export function writeLines(file: string, lines: readonly unknown[]): void {
  writeFileSync(file, lines.map((line) => `${typeof line === "string" ? line : JSON.stringify(line)}\n`).join(""));
}

/** The lines of a file of answers; its last line must be whole. */
export function readAnswers<Line = BatchResult>(file: string): Line[] {
  const text = readFileSync(file, "utf8");
  if (text !== "" && !text.endsWith("\n")) throw new Error(`${file}: the last line is incomplete`);
  return text
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

/**
 * Asserts that two runs gave the same lines, in any order; scores may differ as far as the other rows of a batch move
 * them.
 */
export function sameAnswers(actual: readonly BatchResult[], expected: readonly BatchResult[], message?: string): void {
  const sorted = (answers: readonly BatchResult[]) => [...answers].sort((a, b) => (a.id < b.id ? -1 : 1));
  const withoutScores = (key: string, value: unknown) => (key === "score" ? undefined : value);
  const scores = (answers: readonly BatchResult[]) =>
    sorted(answers).flatMap((one) => ("objects" in one ? one.objects! : []).map(({ score }) => score));
  const lines = (answers: readonly BatchResult[]) => sorted(answers).map((one) => JSON.stringify(one, withoutScores));
  assert.deepEqual(lines(actual), lines(expected), message);
  const others = scores(expected);
  scores(actual).forEach((score, i) => assert.ok(Math.abs(score - others[i]!) < 1e-4, `${score}, ${others[i]}`));
}

/** A model that repeats the prompt, reads no picture, and remembers what it was asked in groups. */
export function echo({ context = 100, refuse }: { context?: number; refuse?: (prompts: string[]) => void } = {}) {
  const asked: string[][] = [];
  const options: BatchOptions[] = [];
  const processor = {
    layOut: (prompt: string) => ({ prefix: [...prompt].map(() => 1), suffix: [] }),
    readPicture: async (file: string) => ({
      values: new Float32Array(3),
      bytes: null,
      size: { width: path.basename(file).length, height: 1 },
    }),
  } as unknown as Processor;
  const generateBatch = async (questions: readonly Question[], how: BatchOptions) => {
    options.push(how);
    const prompts = questions.map(({ prompt }) => prompt);
    asked.push(prompts);
    refuse?.(prompts);
    return prompts.map((text) => ({ text, finishReason: "eos", promptTokens: text.length, tokens: [1] }));
  };
  const config = {
    text: { maxPositionEmbeddings: context },
    vision: { imageSize: 2, patchSize: 1 },
  };
  const model = { generateBatch, processor, config, tokenizer: {} } as unknown as BatchModel;
  return { model, asked, options };
}
