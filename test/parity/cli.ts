import { existsSync } from "node:fs";
import path from "node:path";

import { Command, Option } from "commander";

import { BACKENDS, type BackendChoice, useBackend } from "../../src/backends/backend.js";
import { ownProcess } from "../../src/cli/own-process.js";
import { loadConfig, loadNetwork } from "../../src/loading/load-network.js";
import { openFolder } from "../../weights/source.js";
import { replaceFile } from "../../weights/write-file.js";
import { committedReferences, readReference } from "./reference.js";
import { hookTable, markdown, passes, type ReportEntry, summary } from "./report.js";
import { EXACT, runParity } from "./run.js";

const HOW_TO_MAKE = "python test/fixtures/make_fixtures.py --reference MODEL --image FILE --prompt TEXT --out DIR";

type Flags = { model?: string; reference?: string; backend: BackendChoice; out: string };

const flags = new Command("parity")
  .description("compare every activation, the logits and greedy tokens with a reference made by transformers")
  .option("--model <dir>", "model folder; with --reference")
  .option("--reference <dir>", `reference folder, made by: ${HOW_TO_MAKE}`)
  .addOption(new Option("--backend <name>", "where to compute").choices(BACKENDS).default("auto"))
  .option("--out <file>", "Markdown file to write", "parity.md")
  .parse()
  .opts<Flags>();

ownProcess();

/** Pairs of model folder and reference folder: the one asked for, or all committed ones with the demo checkpoint's. */
function pairs({ model, reference }: Flags): [model: string, reference: string][] {
  if ((model === undefined) !== (reference === undefined)) throw new Error("--model and --reference go together");
  if (model !== undefined && reference !== undefined) return [[model, reference]];
  return committedReferences().map((committed) => [committed.model, committed.reference]);
}

async function main(): Promise<number> {
  const backend = await useBackend(flags.backend);
  const entries: ReportEntry[] = [];
  for (const [modelFolder, referenceFolder] of pairs(flags)) {
    if (!existsSync(path.join(referenceFolder, "case.json"))) {
      throw new Error(`${referenceFolder}: no reference there (case.json); make one with: ${HOW_TO_MAKE}`);
    }
    const folder = await openFolder(modelFolder);
    const model = await loadNetwork(folder, await loadConfig(folder), EXACT, { dtype: "float32" });
    const reference = await readReference(referenceFolder);
    const entry = { backend, reference, result: await runParity(model, reference) };
    model.dispose();
    entries.push(entry);
    console.log(`${hookTable(entry).join("\n")}\n`);
  }
  for (const entry of entries) console.log(summary(entry));
  await replaceFile(flags.out, [Buffer.from(markdown(entries))]);
  const failed = entries.filter((entry) => !passes(entry)).length;
  console.log(`${entries.length - failed} passed, ${failed} failed; every hook is in ${flags.out}`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main().catch((error: Error) => {
  console.error(`error: ${error.message}`);
  return 1;
});
