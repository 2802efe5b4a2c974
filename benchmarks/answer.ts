import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { parseConfig } from "../src/model/config.js";
import { writeInputs } from "./inputs.js";
import type { Resident } from "./memory.js";
import { takeSample } from "./sample.js";

/** Loads a checkpoint in this process, answers one ready-made question, and gives lines that say what it took. */
export async function answerOnce(model: string, newTokens: number): Promise<string[]> {
  const config = parseConfig(JSON.parse(await readFile(join(model, "config.json"), "utf8")));
  const inputs = await mkdtemp(join(tmpdir(), "paligemma-bench-"));
  try {
    await writeInputs(inputs, config.vision.imageSize);
    const { load, computed, answers, loaded, ended } = await takeSample({ model, inputs, answers: [1 + newTokens] });
    const [{ first, further, tokens }] = answers;
    return [
      `load ${load.toFixed(1)} s, computing in ${computed}`,
      `resident after loading: ${memoryWords(loaded)}`,
      `first token ${first.toFixed(2)} s`,
      ...(further === null ? [] : [`each further token ${(further * 1000).toFixed(0)} ms, over ${newTokens}`]),
      `resident at the end: ${memoryWords(ended)}`,
      `ids ${tokens.join(" ")}`,
    ];
  } finally {
    await rm(inputs, { recursive: true, force: true });
  }
}

function memoryWords({ peakBytes, ownBytes, fileBytes }: Resident): string {
  const [peak, own, file] = [peakBytes, ownBytes, fileBytes].map((bytes) => `${(bytes / 1e9).toFixed(2)} GB`);
  return `${own} own (RssAnon) + ${file} mapped from files (RssFile), peak ${peak} (VmHWM)`;
}
