import type { Command } from "commander";

import { isAdapterFolder } from "../../weights/adapter/adapter-file.js";
import { demoCheckpoint } from "../base/demo-checkpoint.js";
import { adapterSummary, checkpointInfo } from "../checkpoints/info/index.js";
import { openPlace } from "../loading/resolve-model.js";
import { describeAdapter, describeInfo } from "./describe-info.js";
import { adapterOption, modelOption, revisionOption } from "./options.js";

type Flags = {
  model?: string;
  revision?: string;
  adapter?: string[];
  tensors?: string | boolean;
  check?: boolean;
  json?: boolean;
};

/**
 * `info [--model DIR]`: all that config, headers and tokenizer tell of a checkpoint or an adapter; `--tensors` and
 * `--check` read weights.
 */
export function addInfo(program: Command): void {
  program
    .command("info")
    .description("describe a checkpoint or an adapter without loading it")
    .addOption(modelOption())
    .addOption(revisionOption())
    .addOption(adapterOption())
    .option("--tensors [glob]", "list the tensors; with a glob read those that match, for their statistics")
    .option("--check", "compare an output head in the file with the embedding, byte by byte")
    .option("--json", "print one JSON object")
    .action(async (flags: Flags) => {
      const { model = demoCheckpoint(), revision, adapter, tensors, check, json } = flags;
      const print = <T>(info: T, describe: (info: T) => string): void =>
        void process.stdout.write(json ? `${JSON.stringify(info)}\n` : describe(info));
      const folder = await openPlace(model, { revision });
      if (await isAdapterFolder(folder)) return print(await adapterSummary(model, null), describeAdapter);
      const info = await checkpointInfo(model, {
        revision,
        adapters: adapter,
        tokenizer: folder.localPath !== null, // elsewhere it would be downloaded, with all of its pieces
        tensors: typeof tensors === "string" ? tensors : tensors ? null : undefined,
        check,
      });
      print(info, describeInfo);
    });
}
