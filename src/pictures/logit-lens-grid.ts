import { InputError } from "../base/errors.js";
import type { LensCell } from "../inspection/lens.js";
import { checkOptions, list, text, type OptionKinds } from "../base/options.js";
import { colourAt, hexOf, inkOn } from "./colour-map.js";
import { LEGEND_HEIGHT, legendStrip } from "./legend.js";
import { element, FAINT, INK, PAPER, svgDocument, textAt } from "./markup.js";
import { numberText, shortText } from "./page/text.js";
import { paragraph } from "./paragraph.js";

/** What the logit lens reads at one layer and position: the likeliest tokens (at least one), and how far the end is. */
export type LensReading = Pick<LensCell, "top" | "entropy" | "finalRank" | "klToFinal">;

/** A logit lens over layers and positions. */
export type LogitLensData = {
  /** [layer][position]. */
  cells: readonly (readonly LensReading[])[];
  /** One label for each position: its token. */
  labels: readonly string[];
  /** The number of each layer. Default: 0, 1, 2, ... */
  layers?: readonly number[];
  title: string;
};

const KINDS: OptionKinds<LogitLensData> = {
  cells: list,
  labels: list,
  layers: list,
  title: text,
};

const MARGIN = 16;
const AXIS = 44;
const CELL = { width: 84, height: 22 };
const PROBABILITY = { low: 0, high: 1, kind: "linear", colours: "sequential" } as const;

/**
 * Draws the lens as SVG: a row for each layer, a column for each position, the likeliest token in the cell, which is
 * coloured by its probability on a scale from 0 to 1. Throws `InputError` where rows and labels differ in number.
 */
export function drawLogitLens(data: LogitLensData): string {
  const { cells, labels, layers, title } = checkOptions("drawLogitLens", data, KINDS);
  checkLens(cells, labels.length, "drawLogitLens: cells");
  const width = AXIS + labels.length * CELL.width;
  const room = Math.max(width, 300);
  const head = paragraph(MARGIN, 10, room, title, { size: 14, weight: "bold", fill: INK });
  const [x, y] = [MARGIN + AXIS, 46 + head.height];
  const names = labels.map((label, i) =>
    textAt(x + (i + 0.5) * CELL.width, y - 6, shortText(label, 11), { size: 10, anchor: "middle", fill: FAINT }),
  );
  const rows = cells.map((row, layer) => {
    const top = y + layer * CELL.height;
    const number = textAt(x - 6, top + 15, String(layers?.[layer] ?? layer), { size: 10, anchor: "end", fill: FAINT });
    return number + row.map((cell, i) => drawCell(cell, x + i * CELL.width, top)).join("");
  });
  const legendTop = y + cells.length * CELL.height + 12;
  const words = "Cell: the likeliest token after that layer, coloured by its probability (raw, 0 to 1).";
  const foot = paragraph(MARGIN, legendTop + LEGEND_HEIGHT + 6, room, words);
  return svgDocument(
    room + 2 * MARGIN,
    legendTop + LEGEND_HEIGHT + 6 + foot.height + MARGIN,
    title,
    head.markup,
    textAt(x, y - 22, "position", { size: 11 }),
    textAt(MARGIN, y - 6, "layer", { size: 11 }),
    names.join(""),
    rows.join(""),
    legendStrip(PROBABILITY, x, legendTop, Math.max(labels.length * CELL.width, 160)),
    foot.markup,
  );
}

function drawCell({ top: [first] }: LensReading, x: number, y: number): string {
  const colour = colourAt("sequential", first.probability);
  const cell = { x, y, ...CELL, fill: hexOf(colour), stroke: PAPER };
  const style = { size: 11, anchor: "middle", fill: inkOn(colour) } as const;
  return element("rect", cell) + textAt(x + CELL.width / 2, y + 15, shortText(first.text, 11), style);
}

/**
 * Throws `InputError` unless there is a layer, each has `positions` cells, and every cell has a token and finite
 * numbers.
 */
export function checkLens(cells: LogitLensData["cells"], positions: number, label: string): void {
  if (cells.length === 0 || positions === 0)
    throw new InputError(`${label}: expected a layer and a position, got none`);
  cells.forEach((row, layer) => {
    if (row.length !== positions) {
      throw new InputError(`${label}[${layer}]: expected ${positions} positions, got ${row.length}`);
    }
    row.forEach((cell, i) => checkCell(cell, `${label}[${layer}][${i}]`));
  });
}

function checkCell({ top, entropy, finalRank, klToFinal }: LensReading, label: string): void {
  if (top.length === 0) throw new InputError(`${label}.top: expected the likeliest tokens, got none`);
  const wrong = top.find(({ probability }) => !(probability >= 0 && probability <= 1));
  if (wrong)
    throw new InputError(`${label}.top: expected probabilities in [0, 1], got ${numberText(wrong.probability)}`);
  for (const [name, value] of Object.entries({ entropy, finalRank, klToFinal })) {
    if (!Number.isFinite(value)) throw new InputError(`${label}.${name}: expected a finite number, got ${value}`);
  }
}
