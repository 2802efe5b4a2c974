import type { Command } from "commander";

import { openFolder } from "../../weights/source.js";
import { demoCheckpoint } from "../demo-checkpoint.js";
import { hookCatalogue } from "../hook-catalogue.js";
import { loadConfig } from "../load-network.js";
import { modelOption } from "./options.js";

/** `hooks [--model DIR]`: name and shape of every activation, a line each, from the config alone. */
export function addHooks(program: Command): void {
  program
    .command("hooks")
    .description(
      "list the activations: name and shape (I pictures, B rows, T positions, S keys, T_text text positions)",
    )
    .addOption(modelOption())
    .action(async ({ model = demoCheckpoint() }: { model?: string }) => {
      const config = await loadConfig(await openFolder(model));
      const lines = hookCatalogue(config).map(({ name, shape }) => `${name} [${shape.join(", ")}]\n`);
      process.stdout.write(lines.join(""));
    });
}
