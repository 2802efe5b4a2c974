import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type Case, caseName } from "./cases.js";
import { sampleOf, type Side, type TimedSample } from "./child.js";
import { writeInputs } from "./inputs.js";
import { cachedShare, dropFromCache, readIntoCache } from "./page-cache.js";

/** Whether the files are in the system's cache. */
type Temperature = "cold" | "warm";

/** How often and how long to measure. */
export type Effort = {
  rounds: number;
  /** Further tokens that are timed. */
  newTokens: number;
  /** Whether to load from the disk as well as from the system's cache. */
  cold: boolean;
  /** Seconds after which a process is given up. */
  limit: number;
};

/** What one side gave; `failure` says why its samples end. */
export type SideResult = { cold: TimedSample[]; warm: TimedSample[]; failure: string | null };

/** A case, measured. `coldShare` is the largest share of the files that was in the cache when a cold load began. */
export type CaseResult = {
  which: Case;
  effort: Effort;
  sides: Partial<Record<Side, SideResult>>;
  coldShare: number | null;
};

/**
 * Measures one case in rounds: each side in a fresh process, cold and then warm, the sides in turn and the first one
 * changing.
 */
export async function measureCase(
  which: Case,
  model: string,
  sides: readonly Side[],
  effort: Effort,
  log: (line: string) => void,
): Promise<CaseResult> {
  const inputs = await mkdtemp(join(tmpdir(), "paligemma-bench-"));
  const results = Object.fromEntries(sides.map((side): [Side, SideResult] => [side, empty()]));
  const result: CaseResult = { which, effort, sides: results, coldShare: null };
  const temperatures: Temperature[] = effort.cold ? ["cold", "warm"] : ["warm"];
  try {
    await writeInputs(inputs, which.resolution);
    for (let round = 0; round < effort.rounds; round++) {
      const order = round % 2 === 0 ? sides : [...sides].reverse();
      for (const temperature of temperatures) {
        for (const side of order) {
          const line = await oneSample(result, side, temperature, { model, inputs });
          log(`${caseName(which)}, round ${round + 1} of ${effort.rounds}: ${side} ${temperature}: ${line}`);
        }
      }
    }
  } finally {
    await rm(inputs, { recursive: true, force: true });
  }
  return result;
}

const empty = (): SideResult => ({ cold: [], warm: [], failure: null });

/** Takes one sample into `to`, and gives a line to show. A side that has failed is not tried again. */
async function oneSample(
  to: CaseResult,
  side: Side,
  temperature: Temperature,
  folders: { model: string; inputs: string },
): Promise<string> {
  const result = to.sides[side]!;
  if (result.failure !== null) return "left out";
  const cold = temperature === "cold";
  await (cold ? dropFromCache(folders.model) : readIntoCache(folders.model));
  const share = await cachedShare(folders.model);
  if (cold && share !== null) to.coldShare = Math.max(to.coldShare ?? 0, share);
  const request = { ...folders, dtype: to.which.dtype, answers: cold ? [1] : [2, 1 + to.effort.newTokens] };
  try {
    const sample = await sampleOf(side, request, to.effort.limit);
    result[temperature].push(sample);
    return describe(sample);
  } catch (error) {
    result.failure = error instanceof Error ? error.message : String(error);
    return `failed: ${result.failure}`;
  }
}

function describe({ load, answers, ended, otherLoad }: TimedSample): string {
  const { first, further } = answers.at(-1)!;
  const times = [`load ${load.toFixed(1)} s`, `first token ${first.toFixed(2)} s`];
  if (further !== null) times.push(`further tokens ${(further * 1000).toFixed(0)} ms`);
  const others = otherLoad === null ? [] : [`others ${otherLoad.toFixed(2)} processors`];
  return [...times, `peak ${(ended.peakBytes / 1e9).toFixed(1)} GB`, ...others].join(", ");
}
