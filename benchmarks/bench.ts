import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Command, InvalidArgumentError, Option } from "commander";

import { answerOnce } from "./answer.js";
import { checkedCase, parseCase, RESOLUTIONS, STORED_TYPES, VARIANT_NAMES } from "./cases.js";
import { makeCheckpoint } from "./checkpoint.js";
import type { Side } from "./child.js";
import { measureDemo } from "./demo.js";
import { measureFullSize, writeToReadme } from "./full-size.js";
import { measurePacked } from "./packed.js";
import { measureQuality } from "./quality.js";

type RunOptions = {
  quick?: boolean;
  cases?: string[];
  only?: Side;
  rounds?: number;
  cold: boolean;
  dir: string;
  out?: string;
  json?: string;
  write?: boolean;
};

const DEMO = "demo";
const QUICK_CASES = [DEMO, "paligemma-3b-bfloat16-224"];
const CASES = [...QUICK_CASES, "paligemma-3b-bfloat16-448", "paligemma-3b-float32-224", "paligemma2-3b-bfloat16-224"];
const FULL_EFFORT = { rounds: 5, newTokens: 32, cold: true, limit: 1800 };
/** Less than a minute for each side, so that all of it takes three. */
const QUICK_EFFORT = { rounds: 1, newTokens: 8, cold: false, limit: 40 };

async function run(options: RunOptions): Promise<void> {
  const quick = options.quick === true;
  const names = options.cases ?? (quick ? QUICK_CASES : CASES);
  const cases = names.filter((name) => name !== DEMO).map(parseCase);
  if (names.includes(DEMO)) {
    const text = await measureDemo(quick, log);
    log(text);
    if (options.out) await writeFile(options.out, text);
  }
  const effort = quick ? QUICK_EFFORT : FULL_EFFORT;
  const measured = await measureFullSize(
    {
      cases,
      dir: options.dir,
      make: !quick,
      sides: options.only ? [options.only] : ["ours", "transformers"],
      effort: { ...effort, rounds: options.rounds ?? effort.rounds, cold: effort.cold && options.cold },
    },
    log,
  );
  if (measured === null) return;
  log(`\n${measured.text}`);
  if (options.json) await writeFile(options.json, `${JSON.stringify(measured.results, null, 2)}\n`);
  if (options.write) await writeToReadme(measured.text);
}

const log = (line: string): void => console.log(line);

function wholeNumber(text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected a whole number");
}

const program = new Command("bench").description("measure this project, alone and side by side with transformers");

program
  .command("run", { isDefault: true })
  .description("time the demo checkpoint on every backend, and checkpoints of full size against transformers")
  .option("--quick", "three minutes: fewer repetitions, and nothing of full size is made")
  .option("--cases <names...>", `what to measure (default: ${CASES.join(" ")})`)
  .addOption(new Option("--only <side>", "one side alone, at full size").choices(["ours", "transformers"]))
  .option("--rounds <n>", "rounds at full size (default: 5, with --quick 1)", wholeNumber)
  .option("--no-cold", "do not load from the disk")
  .option("--dir <folder>", "where checkpoints of full size are kept", join(tmpdir(), "paligemma-bench"))
  .option("--out <file>", "Markdown file to write the demo checkpoint's table to")
  .option("--json <file>", "file to write every sample of full size to")
  .option("--write", "put the table of full size into benchmarks/README.md")
  .action(run);

program
  .command("make")
  .description("write a checkpoint of seeded random weights in the published layout")
  .addOption(new Option("--variant <name>", "size").choices(VARIANT_NAMES).makeOptionMandatory())
  .addOption(new Option("--dtype <name>", "stored type").choices(STORED_TYPES).default("bfloat16"))
  .option("--resolution <pixels>", `picture size, one of ${RESOLUTIONS.join(", ")}`, wholeNumber, 224)
  .requiredOption("--out <folder>", "folder to make")
  .option("--seed <n>", "of the random values", wholeNumber, 0)
  .action(async ({ out, seed, ...parts }: Parameters<typeof checkedCase>[0] & { out: string; seed: number }) =>
    makeCheckpoint({ ...checkedCase(parts, "bench make"), out, seed, log }),
  );

program
  .command("packed")
  .description(
    "hold a checkpoint as stored, in 8 and in 4 bit: memory and speed; and what that does to the demo's distributions",
  )
  .option("--case <name>", "which checkpoint", "paligemma-3b-bfloat16-224")
  .option("--rounds <n>", "rounds", wholeNumber, 3)
  .option("--dir <folder>", "where checkpoints of full size are kept", join(tmpdir(), "paligemma-bench"))
  .action(async ({ case: name, rounds, dir }: { case: string; rounds: number; dir: string }) => {
    const table = await measurePacked(parseCase(name), join(dir, name), { ...FULL_EFFORT, rounds }, log);
    log(`\n${table}\n${await measureQuality(log)}`);
  });

program
  .command("answer")
  .description("load one checkpoint, answer once, and say what it took")
  .requiredOption("--model <folder>", "checkpoint")
  .option("--tokens <n>", "tokens after the first", wholeNumber, 32)
  .action(async ({ model, tokens }: { model: string; tokens: number }) => {
    for (const line of await answerOnce(model, tokens)) log(line);
  });

try {
  // Taken out of the process's own list: the native part's loader (node-pre-gyp) reads that too, and takes --dir for
  // its own.
  await program.parseAsync(process.argv.splice(2), { from: "user" });
} catch (error) {
  console.error(
    error instanceof Error ? [error.message, (error.cause as Error)?.message].filter(Boolean).join(": ") : error,
  );
  process.exitCode = 1;
}
