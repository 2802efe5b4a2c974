import type { Command } from "commander";

import { demoCheckpoint } from "../base/demo-checkpoint.js";
import { hookCatalogue } from "../model/hook-catalogue.js";
import { loadConfig } from "../loading/load-network.js";
import { openPlace } from "../loading/resolve-model.js";
import { modelOption, revisionOption } from "./options.js";

/** `hooks [--model DIR]`: name and shape of every activation, a line each, from the config alone. */
export function addHooks(program: Command): void {
  program
    .command("hooks")
    .description(
      "list the activations: name and shape (I pictures, B rows, T positions, S keys, T_text text positions)",
    )
    .addOption(modelOption())
    .addOption(revisionOption())
    .action(async ({ model = demoCheckpoint(), revision }: { model?: string; revision?: string }) => {
      const config = await loadConfig(await openPlace(model, { revision }));
      const lines = hookCatalogue(config).map(({ name, shape }) => `${name} [${shape.join(", ")}]\n`);
      process.stdout.write(lines.join(""));
    });
}
