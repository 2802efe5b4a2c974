import { InputError } from "../base/errors.js";
import { inUtf8 } from "../input/tokenizer/text-encoding.js";
import { type BatchLine, isAsked, parseLine } from "./batch-lines.js";
import { readLines, sizeOfFile } from "./file-lines.js";
import { type DoneLines, promptMark } from "./results-file.js";
import { type Shard, shardOf } from "./shard.js";

/** What a first reading of an input has found. */
export type Survey = {
  /** How much of the file was read: what is added to it later belongs to a later run. */
  bytes: number;
  /** Lines of the shard. */
  lines: number;
  /** Those of them that are done. */
  skipped: number;
};

/** As many ids can be compared: JavaScript's maps hold no more. */
const MAX_LINES = 2 ** 24 - 1;

/**
 * Reads the whole input before anything is asked: counts the lines of the shard, and compares the ids of all lines
 * (about 100 bytes of memory each). Throws `InputError` for an id that two lines have, for a line that was done with
 * another prompt, and where the file cannot be read.
 */
export async function surveyInput(input: string, shard: Shard, done: DoneLines): Promise<Survey> {
  const survey: Survey = { bytes: await sizeOfFile(input), lines: 0, skipped: 0 };
  const numbers = new Map<string, number>();
  for await (const line of batchLines(input, survey.bytes)) {
    const { id, number } = line;
    const earlier = numbers.get(id);
    if (earlier !== undefined) {
      const advice = "give each line an id of its own (without one it is the number of the line)";
      throw new InputError(`${input}: lines ${earlier} and ${number} have the id ${JSON.stringify(id)}; ${advice}`);
    }
    if (numbers.size === MAX_LINES) throw new InputError(`${input}: expected at most ${MAX_LINES} lines; split it`);
    numbers.set(id, number);
    if (shardOf(id, shard.count) !== shard.index) continue;
    survey.lines++;
    if (!done.has(id)) continue;
    survey.skipped++;
    requireSamePrompt(input, line, done);
  }
  return survey;
}

/** The lines of the first `bytes` bytes of an input, but those of white space. */
export async function* batchLines(input: string, bytes: number): AsyncGenerator<BatchLine, void, void> {
  for await (const line of readLines(input, bytes, (blocks) => inUtf8(blocks, input))) {
    const parsed = parseLine(line);
    if (parsed !== null) yield parsed;
  }
}

// Ids that are numbers of lines name other questions once lines were put in between.
function requireSamePrompt(input: string, line: BatchLine, done: DoneLines): void {
  const mark = done.get(line.id);
  if (mark === null || (isAsked(line) && mark === promptMark(line.prompt))) return;
  throw new InputError(
    `${input}: line ${line.number}, ${JSON.stringify(line.id)}, is not the question that its answer is to; ` +
      "give another --out, or the input that it was made from",
  );
}
