import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { loadNative } from "../src/backends/native/load.js";
import { memoryBandwidth } from "../src/doctor/bandwidth.js";
import { type Case, caseName } from "./cases.js";
import { makeCheckpoint } from "./checkpoint.js";
import { python, type Side } from "./child.js";
import { machineWords, referenceWords } from "./machine.js";
import { type CaseResult, type Effort, measureCase } from "./rounds.js";
import { fullSizeTable } from "./table.js";

/** What to measure, where checkpoints are kept, and whether missing ones are made. */
export type FullSizeRequest = {
  cases: readonly Case[];
  dir: string;
  make: boolean;
  sides: readonly Side[];
  effort: Effort;
};

/**
 * Measures checkpoints of full size; gives the raw samples and the text for the README, or null when nothing could be
 * measured.
 */
export async function measureFullSize(
  { cases, dir, make, sides, effort }: FullSizeRequest,
  log: (line: string) => void,
): Promise<{ results: CaseResult[]; text: string } | null> {
  if (cases.length === 0) return null;
  const present = await presentSides(sides, log);
  if (present.length === 0) return null;
  const ready: Case[] = [];
  for (const which of cases) if (await isThere(join(dir, caseName(which)), which, make, log)) ready.push(which);
  if (ready.length === 0) return null;
  const bandwidth = await memoryBandwidth(2000);
  const results: CaseResult[] = [];
  for (const which of ready) {
    results.push(await measureCase(which, join(dir, caseName(which)), present, effort, log));
  }
  return { results, text: `${await heading(bandwidth)}\n\n${fullSizeTable(results)}\n` };
}

/** The sides that can run here; what is left out is said. */
async function presentSides(sides: readonly Side[], log: (line: string) => void): Promise<Side[]> {
  const present: Side[] = [];
  for (const side of sides) {
    const absence = side === "ours" ? await ourAbsence(log) : referenceAbsence();
    if (absence === null) present.push(side);
    else log(`left out: ${absence}`);
  }
  return present;
}

async function ourAbsence(log: (line: string) => void): Promise<string | null> {
  const native = await loadNative();
  if (native === null) return "this project at full size, as tensorflow is not installed (npm run setup:native)";
  if (!native.kernels) log("this project's kernels are not built here (npm run setup:native): others stand in");
  return null;
}

function referenceAbsence(): string | null {
  if (referenceWords() !== null) return null;
  return `transformers, as ${python()} has no transformers and torch; PALIGEMMA_PYTHON names a Python that has`;
}

async function isThere(folder: string, which: Case, make: boolean, log: (line: string) => void): Promise<boolean> {
  if (existsSync(folder)) return true;
  if (!make) {
    log(`left out: ${caseName(which)}, as there is no checkpoint in ${folder}; bench make writes one`);
    return false;
  }
  log(`making ${folder}`);
  try {
    await makeCheckpoint({ ...which, out: folder, seed: 0, log });
    return true;
  } catch (error) {
    log(`left out: ${caseName(which)}: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

async function heading(bandwidth: number): Promise<string> {
  const words = [...(await machineWords()), referenceWords() ?? "transformers absent"];
  return `${words.join("; ")}. All cores together read memory at ${bandwidth.toFixed(1)} GB/s. Medians ± median absolute deviations.`;
}

const README = fileURLToPath(new URL("README.md", import.meta.url));
const [BEGIN, END] = ["<!-- full size: made by `npm run bench -- --write` -->", "<!-- end of full size -->"];

/** Puts the text between the marks of benchmarks/README.md. */
export async function writeToReadme(text: string): Promise<void> {
  const readme = await readFile(README, "utf8");
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${README}: expected the lines ${BEGIN} and ${END}`);
  await writeFile(README, `${readme.slice(0, begin + BEGIN.length)}\n\n${text.trim()}\n\n${readme.slice(end)}`);
}
