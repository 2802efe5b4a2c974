import { Argument, type Command, Option } from "commander";

import { LAYOUTS, type Layout } from "../../weights/spellings.js";
import { convertCheckpoint } from "../checkpoints/saving/convert.js";
import { isSavedFile, SAVED_DTYPES, type SavedDtype, type SavedModel } from "../checkpoints/saving/save-model.js";
import { readsModel, writes } from "./declared-files.js";
import { LoadDisplay } from "./load-display.js";
import { revisionOption, tokenizerOption } from "./options.js";

type Flags = {
  dtype: SavedDtype | "auto";
  layout: Layout;
  maxShardSize: string;
  tokenizer?: string;
  revision?: string;
  overwrite?: boolean;
  json?: boolean;
};

/**
 * `convert IN OUT [--dtype] [--layout] [--max-shard-size] [--tokenizer] [--overwrite]`: any checkpoint as a Hugging
 * Face folder.
 */
export function addConvert(program: Command): void {
  program
    .command("convert")
    .description("write a checkpoint of any form as a Hugging Face folder, without loading it")
    .addArgument(
      readsModel(
        new Argument(
          "<in>",
          "model folder, weight file (*.safetensors, *.npz, *.weights.h5), or owner/name on the Hugging Face Hub",
        ),
      ),
    )
    .addArgument(writes(new Argument("<out>", "the folder to write"), { holds: isSavedFile }))
    .addOption(
      new Option("--dtype <type>", "type of the numbers; auto: as they are")
        .choices(["auto", ...SAVED_DTYPES])
        .default("auto"),
    )
    .addOption(new Option("--layout <name>", "how tensors are spelled").choices(LAYOUTS).default("hub"))
    .option("--max-shard-size <size>", "most bytes of a file of weights", "5GB")
    .addOption(tokenizerOption())
    .addOption(revisionOption())
    .option("--overwrite", "replace what an earlier saving has left in the folder")
    .option("--json", "print one JSON object")
    .action(async (input: string, output: string, { dtype, json, ...flags }: Flags) => {
      const display = new LoadDisplay(process.stderr, undefined, "converting");
      try {
        const saved = await convertCheckpoint(input, output, {
          ...flags,
          dtype: dtype === "auto" ? undefined : dtype,
          onProgress: (progress) => display.show(progress),
          onNotice: (text) => display.note(text),
        });
        display.end();
        process.stdout.write(json ? `${JSON.stringify(saved)}\n` : describe(saved));
      } finally {
        display.end();
      }
    });
}

function describe({ folder, files, tensors, bytesByDtype }: SavedModel): string {
  const sizes = Object.entries(bytesByDtype).map(([dtype, bytes]) => `${dtype} ${(bytes / 1e6).toFixed(1)} MB`);
  const weights = files.filter((file) => file.endsWith(".safetensors"));
  const names = weights.length === 1 ? weights[0] : `${weights.length} files, ${weights[0]} and so on`;
  return `${folder}: ${tensors} tensors, ${sizes.join(", ")}, in ${names}\n`;
}
