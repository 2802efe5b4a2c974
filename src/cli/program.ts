import { Command, CommanderError } from "commander";

import { packageVersion } from "../base/version.js";
import { addTasks } from "./ask.js";
import { addAttention } from "./attention.js";
import { addBatch } from "./batch.js";
import { addConvert } from "./convert.js";
import { checkDeclaredFiles } from "./declared-files.js";
import { addDetect } from "./detect.js";
import { addDiff } from "./diff.js";
import { addDoctor } from "./doctor.js";
import { addDownload } from "./download.js";
import { addGenerate } from "./generate.js";
import { addHooks } from "./hooks.js";
import { addInfo } from "./info.js";
import { addInspect } from "./inspect.js";
import { addLens } from "./lens.js";
import { addPatch } from "./patch.js";
import { addReport } from "./report.js";
import { addScore } from "./score.js";
import { addSegment } from "./segment.js";
import { addSetupNative } from "./setup-native.js";

/** In the order of `--help`. */
const COMMANDS = [
  addGenerate,
  addTasks,
  addDetect,
  addSegment,
  addScore,
  addBatch,
  addInspect,
  addAttention,
  addLens,
  addPatch,
  addDiff,
  addReport,
  addHooks,
  addInfo,
  addDownload,
  addConvert,
  addSetupNative,
  addDoctor,
];

/**
 * Runs the command line and returns the exit code: 0, 1 after one sentence on stderr, or 128 + n where signal n has
 * ended a batch. Results go to stdout, progress to stderr. `--debug` shows the stack of an error.
 */
export async function runCli(args: readonly string[]): Promise<number> {
  try {
    await commandLine().parseAsync(args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode; // already printed
    process.stderr.write(`${describeError(error, args.includes("--debug"))}\n`);
    return 1;
  }
}

/**
 * The program with all its commands; what they have declared to read and write is checked before any of them does
 * anything.
 */
export function commandLine(): Command {
  const program = new Command("paligemma")
    .description("PaliGemma 1 and 2 on TensorFlow.js: ask about pictures, and look inside the model")
    .version(packageVersion())
    .option("--debug", "show the stack of an error")
    .exitOverride()
    .showHelpAfterError("(--help lists the options)");
  for (const add of COMMANDS) add(program);
  program.hook("preAction", (_, command) => checkDeclaredFiles(command));
  for (const command of program.commands) {
    command
      .exitOverride()
      .option("--debug", "show the stack of an error")
      .showHelpAfterError("(--help lists the options)");
  }
  return program;
}

function describeError(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return `error: ${String(error)}`;
  return debug ? (error.stack ?? error.message) : `error: ${error.message}`;
}
