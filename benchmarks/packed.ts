import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { DtypeChoice } from "../src/backends/dtypes.js";
import { type Case, caseName } from "./cases.js";
import { sampleOf, type TimedSample } from "./child.js";
import { writeInputs } from "./inputs.js";
import { summarise } from "./measure.js";
import { readIntoCache } from "./page-cache.js";

/** What the weights are held in: as stored, and packed at loading. */
const HELD: readonly DtypeChoice[] = ["auto", "int8", "nf4"];

const FIGURES: readonly [label: string, figure: (sample: TimedSample) => number, places: number][] = [
  ["load, warm, s", ({ load }) => load, 1],
  ["first token, s", ({ answers }) => answers[1].first, 2],
  ["each further token, ms", ({ answers }) => answers[1].further! * 1000, 0],
  ["resident after loading, GB", ({ loaded }) => (loaded.ownBytes + loaded.fileBytes) / 1e9, 2],
  ["peak resident memory, GB", ({ ended }) => ended.peakBytes / 1e9, 2],
];

/** Holds one checkpoint in each form, in turn, each time in a fresh process, and gives the medians as Markdown. */
export async function measurePacked(
  which: Case,
  model: string,
  { rounds, newTokens, limit }: { rounds: number; newTokens: number; limit: number },
  log: (line: string) => void,
): Promise<string> {
  const inputs = await mkdtemp(join(tmpdir(), "paligemma-bench-"));
  const samples = new Map<DtypeChoice, TimedSample[]>(HELD.map((hold) => [hold, []]));
  try {
    await writeInputs(inputs, which.resolution);
    for (let round = 0; round < rounds; round++) {
      for (const hold of round % 2 === 0 ? HELD : [...HELD].reverse()) {
        await readIntoCache(model);
        const request = { model, inputs, dtype: which.dtype, hold, answers: [2, 1 + newTokens] };
        const sample = await sampleOf("ours", request, limit);
        samples.get(hold)!.push(sample);
        const figures = FIGURES.map(([label, figure, places]) => `${label} ${figure(sample).toFixed(places)}`);
        log(`${caseName(which)}, ${hold}, round ${round + 1} of ${rounds}: ${figures.join(", ")}`);
      }
    }
  } finally {
    await rm(inputs, { recursive: true, force: true });
  }
  return table(which, samples);
}

function table(which: Case, samples: ReadonlyMap<DtypeChoice, TimedSample[]>): string {
  const header = [caseName(which), ...HELD.map((hold) => (hold === "auto" ? "as stored" : `--dtype ${hold}`))];
  const rows = FIGURES.map(([label, figure, places]) => {
    const cells = HELD.map((hold) => {
      const { median, mad } = summarise(samples.get(hold)!.map(figure));
      return `${median.toFixed(places)} ± ${mad.toFixed(places)}`;
    });
    return [label, ...cells];
  });
  const lines = [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  const busy = Math.max(...[...samples.values()].flat().map(({ otherLoad }) => otherLoad ?? 0));
  return `${lines.join("\n")}\n\nOther programs kept up to ${busy.toFixed(1)} processors busy.\n`;
}
