import { InputError } from "../base/errors.js";
import type { AttentionRows } from "../inspection/attention.js";
import type { Edit } from "../hooks/edit.js";
import { anything, checkOptions, list, text, type OptionKinds } from "../base/options.js";
import type { Segment } from "../model/segments.js";
import { expectSize, expectValues } from "./check.js";
import { checkLens, type LensReading } from "./logit-lens-grid.js";
import { pictureUri, type SeenPicture } from "./seen-picture.js";

/** A token of the sequence. */
export type ReportToken = { id: number; text: string };

/** A token that was generated: `position` is its own place in the sequence; the query one before it chose it. */
export type ReportStep = ReportToken & { probability: number; position: number };

/** Edits that were tried on the run, and what the model answered without and with them. */
export type ReportEdit = {
  description: string;
  edits: readonly Edit[];
  before: string;
  after: string;
  /** Change of the log-probability of the answer (its first token, or as the description says). */
  deltaLogProbability?: number | undefined;
};

/** A logit lens: what was read after some layers at some positions, `cells[layer][position]`. */
export type ReportLens = {
  layers: readonly number[];
  positions: readonly number[];
  cells: readonly (readonly LensReading[])[];
};

/** All that a report shows of one run, as plain data. */
export type ReportData = {
  model: string;
  backend: string;
  dtype: string;
  settings: Readonly<Record<string, string | number | boolean>>;
  prompt: string;
  answer: string;
  /** The whole sequence by position: picture, prompt, and what was generated. */
  tokens: readonly ReportToken[];
  segments: readonly Segment[];
  /** Patches of each picture. The image segments hold pictures x rows x columns positions. */
  grid: readonly [rows: number, columns: number];
  pictures: readonly SeenPicture[];
  /** In the order in which they were generated. */
  steps: readonly ReportStep[];
  /** hook_pattern of the decoder for some queries, [queries, layers, heads, keys], none below 0. */
  attention: Pick<AttentionRows, "queries" | "layers" | "heads" | "keys" | "values">;
  logitLens?: ReportLens | undefined;
  edits?: readonly ReportEdit[] | undefined;
};

const KINDS: OptionKinds<ReportData> = {
  model: text,
  backend: text,
  dtype: text,
  settings: anything,
  prompt: text,
  answer: text,
  tokens: list,
  segments: list,
  grid: list,
  pictures: list,
  steps: list,
  attention: anything,
  logitLens: anything,
  edits: list,
};

/** More numbers do not fit a page: a third more letters in base64, of the 2^29 that JavaScript allows a text. */
export const MAX_REPORT_VALUES = 64 * 2 ** 20;

/** Throws `InputError` that names the first part of a report that does not fit the others. */
export function checkReport(data: ReportData): void {
  const { grid, pictures, segments, tokens } = checkOptions("report", data, KINDS);
  expectSize(grid[0], "report: grid rows");
  expectSize(grid[1], "report: grid columns");
  if (pictures.length === 0) throw new InputError("report: pictures: expected at least one, got none");
  pictures.forEach((picture, i) => pictureUri(picture, `report: pictures[${i}]`));
  for (const { name, start, end } of segments) {
    if (start >= 0 && start < end && end <= tokens.length) continue;
    throw new InputError(`report: segments: ${name} is [${start}, ${end}), outside of the ${tokens.length} tokens`);
  }
  const places = segments.filter(({ name }) => name === "image").reduce((sum, { start, end }) => sum + end - start, 0);
  const patches = pictures.length * grid[0] * grid[1];
  if (places !== patches) {
    const expected = `${pictures.length} pictures of ${grid[0]} x ${grid[1]} patches = ${patches} positions`;
    throw new InputError(`report: segments: expected ${expected} named image, got ${places}`);
  }
  checkSteps(data);
  checkAttention(data);
  if (data.logitLens) checkReportLens(data.logitLens, tokens.length);
}

function checkSteps({ steps, tokens }: ReportData): void {
  steps.forEach(({ id, probability, position }, i) => {
    const label = `report: steps[${i}]`;
    if (!(probability >= 0 && probability <= 1)) {
      throw new InputError(`${label}.probability: expected a number in [0, 1], got ${probability}`);
    }
    if (!Number.isInteger(position) || position < 1 || position > tokens.length) {
      throw new InputError(`${label}.position: expected 1 to ${tokens.length}, got ${position}`);
    }
    const there = tokens[position];
    if (there !== undefined && there.id !== id) {
      throw new InputError(`${label}: token ${id} at position ${position}, where tokens hold ${there.id}`);
    }
  });
}

function checkAttention({ attention, tokens }: ReportData): void {
  const { queries, layers, heads, keys, values } = attention;
  const count = queries.length * layers * heads * keys;
  if (count > MAX_REPORT_VALUES) {
    const limit = `a page holds ${MAX_REPORT_VALUES}`;
    throw new InputError(`report: attention: ${queries.length} queries are ${count} weights, ${limit}; choose fewer`);
  }
  expectValues(values, { queries: queries.length, layers, heads, keys }, "report: attention");
  const below = values.findIndex((value) => value < 0);
  if (below >= 0) {
    const hint = "hook_pattern holds weights, hook_attn_scores does not";
    throw new InputError(
      `report: attention: expected weights of at least 0, got ${values[below]} at ${below}; ${hint}`,
    );
  }
  if (keys > tokens.length) throw new InputError(`report: attention: ${keys} keys, but ${tokens.length} tokens`);
  queries.forEach((query, i) => {
    if (Number.isInteger(query) && query >= 0 && query < keys && queries.indexOf(query) === i) return;
    throw new InputError(`report: attention.queries[${i}]: expected a position below ${keys}, each once, got ${query}`);
  });
}

function checkReportLens({ layers, positions, cells }: ReportLens, tokens: number): void {
  if (cells.length !== layers.length) {
    throw new InputError(`report: logitLens.cells: expected ${layers.length} layers, got ${cells.length}`);
  }
  checkLens(cells, positions.length, "report: logitLens.cells");
  const outside = positions.find((position) => !Number.isInteger(position) || position < 0 || position >= tokens);
  if (outside !== undefined) {
    throw new InputError(`report: logitLens.positions: expected positions below ${tokens}, got ${outside}`);
  }
}
