import { caseName } from "./cases.js";
import { checkpointBytes } from "./checkpoint.js";
import type { Side, TimedSample } from "./child.js";
import { summarise } from "./measure.js";
import type { CaseResult, SideResult } from "./rounds.js";

/** A line of the table: a figure of each sample of one kind; null where a sample has none. */
type Row = {
  label: string;
  from: "cold" | "warm";
  figure: (sample: TimedSample, result: CaseResult) => number | null;
};

const MILLI = 1000;
const GIGA = 1e9;

const ROWS: readonly Row[] = [
  { label: "start of the process, s", from: "warm", figure: ({ startup }) => startup },
  { label: "load, cold, s", from: "cold", figure: ({ load }) => load },
  { label: "load and first token, cold, s", from: "cold", figure: ({ load, answers }) => load + answers[0].first },
  { label: "load, warm, s", from: "warm", figure: ({ load }) => load },
  { label: "first token of the first answer, s", from: "warm", figure: ({ answers }) => answers[0].first },
  { label: "first token, s", from: "warm", figure: ({ answers }) => answers[1].first },
  { label: "each further token, ms", from: "warm", figure: (sample) => timesOr(furtherOf(sample), MILLI) },
  { label: "decoder's weights read while decoding, GB/s", from: "warm", figure: decodeRate },
  {
    label: "longest gap of the event loop, loading, ms",
    from: "warm",
    figure: ({ loadGap }) => timesOr(loadGap, MILLI),
  },
  {
    label: "longest gap of the event loop, answering, ms",
    from: "warm",
    figure: ({ answers }) => timesOr(answers[1].gap, MILLI),
  },
  { label: "peak resident memory, GB", from: "warm", figure: ({ ended }) => ended.peakBytes / GIGA },
  { label: "of it not mapped from files, GB", from: "warm", figure: ({ ended }) => ended.ownBytes / GIGA },
];

const furtherOf = ({ answers }: TimedSample): number | null => answers.at(-1)!.further;
const timesOr = (value: number | null | undefined, factor: number): number | null =>
  value === null || value === undefined ? null : value * factor;

/** The bytes that the decoder's weights have in the files, over the time of one token. */
function decodeRate(sample: TimedSample, { which }: CaseResult): number | null {
  const further = furtherOf(sample);
  return further === null ? null : checkpointBytes(which, "language_model.") / further / GIGA;
}

const SIDES: readonly Side[] = ["ours", "transformers"];
const NAMES: Readonly<Record<Side, string>> = { ours: "paligemma-tfjs", transformers: "transformers" };

/** The measured cases as a Markdown table, and what there is to say about each below it. */
export function fullSizeTable(results: readonly CaseResult[]): string {
  const header = ["checkpoint", "", ...SIDES.map((side) => NAMES[side]), "ours / theirs"];
  const rows = results.flatMap((result) => {
    const lines = ROWS.map((row) => cellsOf(row, result)).filter((cells) => cells !== null);
    return lines.map((cells, i) => [i === 0 ? caseName(result.which) : "", ...cells]);
  });
  const table = [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  return `${table}\n\n${results.flatMap(remarks).join("\n")}`;
}

/** Label, one cell for each side and the ratio of medians; null when no side has a sample. */
function cellsOf(row: Row, result: CaseResult): string[] | null {
  const summaries = SIDES.map((side) => figures(row, result, side)).map((values) =>
    values.length === 0 ? null : summarise(values),
  );
  if (summaries.every((summary) => summary === null)) return null;
  const cells = summaries.map((summary, i) => {
    if (summary === null) return absence(result.sides[SIDES[i]]);
    return `${shown(summary.median)} ± ${shown(summary.mad, summary.median)}`;
  });
  const [ours, theirs] = summaries;
  return [row.label, ...cells, ours && theirs ? (ours.median / theirs.median).toFixed(2) : ""];
}

/** Why a side has no such figure. */
function absence(side: SideResult | undefined): string {
  if (side === undefined) return "not run";
  return side.failure === null ? "none" : "failed";
}

function figures({ from, figure }: Row, result: CaseResult, side: Side): number[] {
  return (result.sides[side]?.[from] ?? []).flatMap((sample) => figure(sample, result) ?? []);
}

/** Three figures of a number; a deviation is shown to the same place as its median. */
function shown(value: number, like = value): string {
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.max(Math.abs(like), 0.01))));
  return value.toFixed(Math.min(places, 3));
}

function remarks(result: CaseResult): string[] {
  const sides = Object.entries(result.sides) as [Side, SideResult][];
  const said = sides.flatMap(([side, { warm, cold, failure }]) => {
    const computed = (warm[0] ?? cold[0])?.computed;
    const ran = computed === undefined ? [] : [`${NAMES[side]} computed in ${computed} (runs: ${warm.length})`];
    return failure === null ? ran : [...ran, `${NAMES[side]} failed: ${failure}`];
  });
  const text = [...said, ...agreement(result), ...coldness(result), ...disturbance(result)].join("; ");
  return [`- ${caseName(result.which)}: ${text}.`];
}

/** How many of the first ids are the same: near ties fall either way, so only float32 should agree to the end. */
function agreement({ sides }: CaseResult): string[] {
  const [ours, theirs] = SIDES.map((side) => sides[side]?.warm[0]?.answers.at(-1)?.tokens);
  if (!ours || !theirs) return [];
  const differing = ours.findIndex((id, i) => id !== theirs[i]);
  return [`the first ${differing < 0 ? ours.length : differing} of ${ours.length} ids agree`];
}

function coldness({ effort, coldShare, sides }: CaseResult): string[] {
  if (!effort.cold || Object.values(sides).every(({ cold }) => cold.length === 0)) return [];
  if (coldShare === null) return ["whether cold loads were cold cannot be told here (no fincore)"];
  if (coldShare < 0.01) return [];
  return [`cold loads were not cold: up to ${(coldShare * 100).toFixed(0)} % of the files were in the system's cache`];
}

/** Processors; what the harness itself and an idle system's services take is well below. */
const DISTURBED = 0.25;

/** A machine that others use gives no figures to keep. */
function disturbance({ sides }: CaseResult): string[] {
  const samples = Object.values(sides).flatMap(({ cold, warm }) => [...cold, ...warm]);
  const most = Math.max(...samples.map(({ otherLoad }) => otherLoad ?? 0));
  return most < DISTURBED
    ? []
    : [`other programs kept up to ${most.toFixed(1)} processors busy: measure again on an idle machine`];
}
