import { type Command, Option } from "commander";

import { downloadModel } from "../../weights/hub/download.js";
import { writes } from "./declared-files.js";
import { LoadDisplay } from "./load-display.js";
import { revisionOption } from "./options.js";

type Flags = { revision?: string; token?: string; dir?: string };

/** `download REPO [--revision] [--token] [--dir]`: brings a model from the Hugging Face Hub and prints its folder. */
export function addDownload(program: Command): void {
  program
    .command("download")
    .description("download a model from the Hugging Face Hub, or what is missing of it, and print its folder")
    .argument("<repository>", "owner/name, as in google/paligemma2-3b-mix-224")
    .addOption(revisionOption())
    .option("--token <token>", "access token; better in HF_TOKEN, where other users of the machine cannot read it")
    .addOption(
      writes(new Option("--dir <folder>", "put plain files there instead of into the cache"), { holds: () => true }),
    )
    .action(async (repository: string, flags: Flags) => {
      const display = new LoadDisplay();
      try {
        const folder = await downloadModel(repository, {
          ...flags,
          onProgress: ({ loadedBytes, totalBytes }) => display.show({ phase: "download", loadedBytes, totalBytes }),
          onNotice: (text) => display.note(text),
        });
        process.stdout.write(`${folder}\n`);
      } finally {
        display.end();
      }
    });
}
