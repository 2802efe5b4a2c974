import { stat } from "node:fs/promises";
import path from "node:path";

import { numImageTokens } from "../model/config.js";
import { InputError } from "../base/errors.js";
import { abortSignal, anything, callback, checkOptions, number, type OptionKinds, text } from "../base/options.js";
import { requireApart } from "../checkpoints/saving/require-apart.js";
import { askGroup, type BatchModel } from "./answer-group.js";
import type { AskedLine, BatchLine } from "./batch-lines.js";
import { isFailure } from "./batch-result.js";
import { sizeOfFile } from "./file-lines.js";
import { type Group, groupsOf } from "./length-buckets.js";
import { oneAhead } from "./prefetch.js";
import { withOutputLock } from "./output-lock.js";
import { type ReadyLine, readyGroup } from "./load-pictures.js";
import { ResultsFile } from "./results-file.js";
import { checkedShard, type Shard, shardFile, shardOf, WHOLE } from "./shard.js";
import { batchLines, surveyInput } from "./scan-input.js";
import { requireWhole } from "../base/whole-number.js";

/** What is asked, and where the answers go. */
export type RunBatchOptions = {
  /** A file with `{"id"?, "image", "prompt"}` on each line; pictures are relative to its folder. */
  input: string;
  /** The file that answers are added to; with shards each has its own beside it, see `shardFile`. */
  out: string;
  /** Default: everything. */
  shard?: Shard | undefined;
  /** Questions that are decoded at once. Default 8. */
  batchSize?: number | undefined;
  /** Default 256. */
  maxNewTokens?: number | undefined;
  /** Ends the run; what was answered before is written. */
  signal?: AbortSignal | undefined;
  /** Called before the first group and after each. */
  onProgress?: ((progress: BatchProgress) => void) | undefined;
  /** Hears what a person would want to know. */
  onNotice?: ((text: string) => void) | undefined;
};

const BATCH_KINDS: OptionKinds<RunBatchOptions> = {
  input: text,
  out: text,
  shard: anything,
  batchSize: number,
  maxNewTokens: number,
  signal: abortSignal,
  onProgress: callback,
  onNotice: callback,
};

/** How far a run is, in lines of its shard. */
export type BatchProgress = {
  lines: number;
  /** Their answers were there already. */
  skipped: number;
  answered: number;
  errors: number;
};

/** What a run has done; `out` is the file that it has written. */
export type BatchSummary = BatchProgress & { out: string };

const DEFAULT_BATCH_SIZE = 8;

/**
 * Answers the lines of a file that belong to a shard and have no answer yet, and adds the answers to the shard's file,
 * in any order. A line that cannot be asked gives an error as its line. Run again after whatever has ended it, it goes
 * on with the lines that are left; all shards together give the lines of one run. A function as `model` is called when
 * there is something to answer. Throws `InputError` where the files cannot be used, what the model throws but
 * `InputError` (`WeightsError` where its logits are not finite), and the signal's reason.
 */
export async function runBatch(
  model: BatchModel | (() => Promise<BatchModel>),
  asked: RunBatchOptions,
): Promise<BatchSummary> {
  const checked = checkOptions("runBatch", asked, BATCH_KINDS);
  const { batchSize = DEFAULT_BATCH_SIZE, maxNewTokens, ...options } = checked;
  for (const name of ["input", "out"] as const) {
    if (options[name] === undefined)
      throw new InputError(`runBatch: ${name}: expected the path of a file, received nothing`);
  }
  const { input, signal, onNotice } = options;
  const shard = checkedShard(options.shard ?? WHOLE);
  requireWhole("batchSize", batchSize, 1);
  if (maxNewTokens !== undefined) requireWhole("maxNewTokens", maxNewTokens, 1);
  const out = shardFile(options.out, shard);
  await requirePlaces(input, out);
  return withOutputLock(out, { signal, onNotice }, async (checkLock) => {
    const results = await ResultsFile.open(out);
    try {
      if (results.cut > 0) onNotice?.(`${out}: an incomplete last line of ${results.cut} bytes was cut off`);
      const run = { ...options, shard, batchSize, maxNewTokens, results, checkLock };
      return { ...(await answerLeft(model, run)), out };
    } finally {
      await results.close();
    }
  });
}

type Run = Pick<RunBatchOptions, "input" | "signal" | "onProgress"> & {
  shard: Shard;
  batchSize: number;
  maxNewTokens: number | undefined;
  results: ResultsFile;
  checkLock: () => Promise<void>;
};

async function answerLeft(model: BatchModel | (() => Promise<BatchModel>), run: Run): Promise<BatchProgress> {
  const { input, shard, batchSize, maxNewTokens, results, checkLock, signal, onProgress } = run;
  const { bytes, lines, skipped } = await surveyInput(input, shard, results.done);
  const progress: BatchProgress = { lines, skipped, answered: 0, errors: 0 };
  onProgress?.({ ...progress });
  if (skipped === lines) return progress;
  signal?.throwIfAborted();
  const loaded = typeof model === "function" ? await model() : model;
  const groups = groupsOf(linesLeft(run, bytes), batchSize, (line) => lengthOf(line, loaded));
  for await (const group of oneAhead(ready(groups, { input, model: loaded }))) {
    signal?.throwIfAborted();
    const written = await askGroup(loaded, group, { maxNewTokens, signal });
    await checkLock();
    await results.append(written);
    const errors = written.filter(isFailure).length;
    progress.errors += errors;
    progress.answered += written.length - errors;
    onProgress?.({ ...progress });
  }
  return progress;
}

async function* linesLeft({ input, shard, results }: Run, bytes: number): AsyncGenerator<BatchLine, void, void> {
  for await (const line of batchLines(input, bytes)) {
    if (shardOf(line.id, shard.count) === shard.index && !results.done.has(line.id)) yield line;
  }
}

async function* ready(
  groups: AsyncIterable<Group>,
  { input, model }: { input: string; model: BatchModel },
): AsyncGenerator<Group<ReadyLine>, void, void> {
  const folder = path.dirname(path.resolve(input));
  for await (const group of groups) yield await readyGroup(group, { folder, processor: model.processor });
}

// Before pictures are read: what is too long for the model must not take the memory either.
function lengthOf({ prompt, images }: AskedLine, { config, processor }: BatchModel): number {
  const context = config.text.maxPositionEmbeddings;
  const pictures = images.length * numImageTokens(config);
  const length = pictures > context ? pictures : processor.layOut(prompt, images.length).prefix.length;
  if (length <= context) return length;
  throw new InputError(
    `prompt: expected at most ${context} tokens, those of the pictures included, received ${length}`,
  );
}

async function requirePlaces(input: string, out: string): Promise<void> {
  await sizeOfFile(input);
  const folder = path.dirname(path.resolve(out));
  // A folder that is made here might stand where a volume is not mounted.
  if (!(await stat(folder).catch(() => null))?.isDirectory()) {
    throw new InputError(`${out}: there is no folder ${folder}; make it, or give another --out`);
  }
  await requireApart([{ name: "out", path: out }], [{ name: "the questions", files: [input] }]);
}
