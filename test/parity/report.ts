import type { ParityResult } from "./run.js";
import { TOLERANCE } from "./run.js";
import type { Reference } from "./reference.js";

/** One reference run on one backend, compared. */
export type ReportEntry = { backend: string; reference: Reference; result: ParityResult };

/** Whether everything held: every hook there, in shape and within the limit, and the greedy ids equal. */
export function passes({ reference, result }: ReportEntry): boolean {
  const complete = result.missing.length === 0 && result.unknown.length === 0;
  return complete && result.hooks.every(({ scaled }) => scaled <= TOLERANCE) && greedyEqual(reference, result);
}

/** Whether the decoded ids are the reference's. */
export const greedyEqual = (reference: Reference, result: ParityResult): boolean =>
  JSON.stringify(reference.greedy) === JSON.stringify(result.greedy);

const worstFirst = (result: ParityResult) => [...result.hooks].sort((a, b) => b.scaled - a.scaled);
const figure = (value: number): string => value.toExponential(1);

/** One line about a reference. */
export function summary(entry: ReportEntry): string {
  const { backend, reference, result } = entry;
  const [worst] = worstFirst(result);
  const logits = `KL ${figure(result.logits.largestKl)}, top-1 ${(100 * result.logits.agreement).toFixed(1)} %`;
  const greedy = `${reference.greedy.flat().length} greedy tokens ${greedyEqual(reference, result) ? "equal" : "DIFFER"}`;
  const verdict = passes(entry) ? "ok  " : "FAIL";
  return `${verdict} ${reference.name} [${backend}] worst of ${result.hooks.length} hooks: ${worst.name} ${figure(worst.scaled)}; ${logits}; ${greedy}`;
}

/** The whole report: a table of runs, and for each run every hook, worst first. */
export function markdown(entries: readonly ReportEntry[]): string {
  const { torch, transformers } = entries[0].reference.versions;
  const runs = entries.map((entry) => {
    const { backend, reference, result } = entry;
    const [worst] = worstFirst(result);
    const cells = [reference.name, backend, result.hooks.length, `\`${worst.name}\``, figure(worst.scaled)];
    const logits = [figure(result.logits.largestKl), `${(100 * result.logits.agreement).toFixed(1)} %`];
    const greedy = greedyEqual(reference, result) ? `${reference.greedy.flat().length} equal` : "differ";
    return `| ${[...cells, ...logits, greedy, passes(entry) ? "ok" : "**FAIL**"].join(" | ")} |`;
  });
  return [
    "# Parity",
    "",
    `References: transformers ${transformers}, torch ${torch}, eager attention, float32. Scaled error is`,
    `max|a - b| / max(1, max|b|) with b the reference; the limit is ${TOLERANCE}.`,
    "",
    "| reference | backend | hooks | worst hook | scaled error | worst KL | top-1 | greedy tokens | verdict |",
    "|---|---|---|---|---|---|---|---|---|",
    ...runs,
    ...entries.flatMap(hookTable),
    "",
  ].join("\n");
}

/** Every hook of one run, worst first, as Markdown lines. */
export function hookTable({ backend, reference, result }: ReportEntry): string[] {
  const absent = result.missing.map((name) => `| \`${name}\` | did not fire | | | | |`);
  const rows = worstFirst(result).map(({ name, scaled, maxAbs, peak, rmsRelative, cosine, wrongShape }) => {
    const cells = [figure(scaled), figure(maxAbs), figure(peak), figure(rmsRelative), (1 - cosine).toExponential(1)];
    return `| \`${name}\` | ${wrongShape ? `shape ${wrongShape} | | | | ` : cells.join(" | ")} |`;
  });
  return [
    "",
    `## ${reference.name} on ${backend}`,
    "",
    "| hook | scaled error | max abs | peak | RMS relative | 1 - cosine |",
    "|---|---|---|---|---|---|",
    ...absent,
    ...rows,
  ];
}
