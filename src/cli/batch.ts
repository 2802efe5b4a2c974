import { type Command, CommanderError, Option } from "commander";

import { parseShard, type Shard, shardFile, WHOLE } from "../jobs/shard.js";
import { type BatchSummary, runBatch } from "../jobs/run-batch.js";
import { MAX_NEW_TOKENS } from "./decoding-options.js";
import type { PaliGemma } from "../paligemma.js";
import { BatchDisplay } from "./batch-display.js";
import { readsFile, writes } from "./declared-files.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, numberFor } from "./options.js";

type Flags = LoadFlags & {
  input: string;
  out: string;
  shard?: Shard;
  batchSize: number;
  maxNewTokens?: number;
  json?: boolean;
};

/**
 * `batch --input FILE --out FILE [--shard i/N]`: answers a file of questions, goes on where it was stopped, and takes
 * one part of N.
 */
export function addBatch(program: Command): void {
  addLoadOptions(program.command("batch"))
    .description("answer a file of questions, one JSON object a line; run again, it goes on where it was stopped")
    .addOption(
      readsFile(
        new Option("--input <file>", 'lines of {"id"?, "image": path or [paths], "prompt"}'),
      ).makeOptionMandatory(),
    )
    .addOption(
      writes(
        new Option(
          "--out <file>",
          "answers are added to it, in any order; with shards, to one file of each beside it",
        ).makeOptionMandatory(),
        { at: (out, { shard = WHOLE }) => shardFile(out, shard as Shard) },
      ),
    )
    .option("--shard <i/N>", "only the lines of part i of N, 0 <= i < N", parseShard)
    .option("--batch-size <n>", "questions that are decoded at once", numberFor("--batch-size"), 8)
    .option("--max-new-tokens <n>", MAX_NEW_TOKENS, numberFor("--max-new-tokens"))
    .option("--json", "print the summary as one JSON object")
    .action(async (flags: Flags) => {
      const display = new BatchDisplay(process.stderr);
      const summary = await untilSignal((signal) => run(flags, display, signal)).finally(() => display.end());
      const { linesPerSecond } = display;
      process.stdout.write(
        flags.json ? `${JSON.stringify({ ...summary, linesPerSecond })}\n` : `${inWords(summary)}\n`,
      );
    });
}

async function run(flags: Flags, display: BatchDisplay, signal: AbortSignal): Promise<BatchSummary> {
  let model: PaliGemma | undefined;
  const load = async () => {
    model = await loadWithProgress(flags, { signal });
    display.startClock();
    return model;
  };
  try {
    const { input, out, shard, batchSize, maxNewTokens } = flags;
    return await runBatch(load, {
      ...{ input, out, shard, batchSize, maxNewTokens },
      signal,
      onProgress: (progress) => display.show(progress),
      onNotice: (text) => display.note(text),
    });
  } finally {
    model?.dispose();
  }
}

const inWords = ({ lines, answered, errors, skipped, out }: BatchSummary): string =>
  `${lines} lines: ${answered} answered, ${errors} errors, ${skipped} there already -> ${out}`;

/** Exit codes of programs that a signal has ended: 128 + its number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

// The first signal lets the run end in order; the second ends the process.
async function untilSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    const message = `stopped by ${name}; run the same command again for what is left`;
    controller.abort(new CommanderError(EXIT_CODES[name as keyof typeof EXIT_CODES], "paligemma.signal", message));
  };
  const names = Object.keys(EXIT_CODES) as NodeJS.Signals[];
  for (const name of names) process.once(name, onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    if (error === controller.signal.reason) process.stderr.write(`${(error as Error).message}\n`);
    throw error;
  } finally {
    for (const name of names) process.off(name, onSignal);
  }
}
