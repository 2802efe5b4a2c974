import { InputError } from "../base/errors.js";
import { anything, checkOptions, list, text, type OptionKinds } from "../base/options.js";
import type { Segment } from "../model/segments.js";
import { cellsOver } from "./cells.js";
import { expectValues } from "./check.js";
import { colourAt, hexOf } from "./colour-map.js";
import { element, FAINT, INK, LINE, svgDocument, textAt } from "./markup.js";
import { paragraph } from "./paragraph.js";
import type { Frame } from "./patch-overlay.js";

/** An attention mask and the segments of its axes. */
export type MaskData = {
  /** [T, S], row by row: other than 0 where the query may see the key. */
  open: ArrayLike<number>;
  /** Queries T and keys S. */
  shape: readonly [queries: number, keys: number];
  /** Segments of the keys, [start, end) within S. */
  keySegments: readonly Segment[];
  /** Segments of the queries within T. Default: those of the keys, when there are as many queries as keys. */
  querySegments?: readonly Segment[];
  title: string;
};

const KINDS: OptionKinds<MaskData> = {
  open: anything,
  shape: list,
  keySegments: list,
  querySegments: list,
  title: text,
};

const MARGIN = 16;
const AXIS = 72;
const OPEN = hexOf(colourAt("sequential", 0.8));
const CLOSED = hexOf(colourAt("sequential", 0.05));

/**
 * Draws a mask as SVG, one cell for each query and key, with a line at every border of a segment. Throws `InputError`.
 */
export function drawMask(data: MaskData): string {
  const { open, shape, keySegments, title } = checkOptions("drawMask", data, KINDS);
  const [queries, keys] = shape;
  expectValues(open, { queries, keys }, "drawMask: open");
  const querySegments = data.querySegments ?? (queries === keys ? keySegments : []);
  checkSegments(keySegments, keys, "drawMask: keySegments");
  checkSegments(querySegments, queries, "drawMask: querySegments");
  const cell = Math.min(Math.max(480 / Math.max(queries, keys), 0.25), 24);
  const size = { width: keys * cell, height: queries * cell };
  const room = Math.max(AXIS + size.width, 320);
  const head = paragraph(MARGIN, 10, room, title, { size: 14, weight: "bold", fill: INK });
  const frame = { x: MARGIN + AXIS, y: 80 + head.height, ...size };
  const colourOf = (query: number, key: number) => (open[query * keys + key] !== 0 ? OPEN : CLOSED);
  const share = Array.from(open).filter((value) => value !== 0).length;
  const words = `Light: open (${share} of ${open.length} cells). Dark: closed. A row is a query, a column a key.`;
  const foot = paragraph(MARGIN, frame.y + frame.height + 8, room, words);
  return svgDocument(
    room + 2 * MARGIN,
    frame.y + frame.height + 8 + foot.height + MARGIN,
    title,
    head.markup,
    cellsOver(frame, shape, colourOf),
    element("rect", { ...frame, fill: "none", stroke: LINE }),
    borders(frame, shape, querySegments, keySegments),
    foot.markup,
  );
}

/** Lines between segments, and their names along both axes. */
function borders(
  { x, y, width, height }: Frame,
  [queries, keys]: readonly [number, number],
  querySegments: readonly Segment[],
  keySegments: readonly Segment[],
): string {
  const [toX, toY] = [(key: number) => x + (key * width) / keys, (query: number) => y + (query * height) / queries];
  const down = keySegments.map(({ start }) => `M${toX(start)} ${y - 4}v${height + 4}`);
  const across = querySegments.map(({ start }) => `M${x - 4} ${toY(start)}h${width + 4}`);
  const lines = element("path", {
    d: [...down, ...across].join(""),
    stroke: "#ffffff",
    "stroke-width": 1,
    fill: "none",
  });
  const style = { size: 10, fill: FAINT };
  const above = spread(keySegments, toX, 12).map(({ name, at }) =>
    textAt(at + 3, y - 8, name, { ...style, rotate: -55 }),
  );
  const beside = spread(querySegments, toY, 12).map(({ name, at }) =>
    textAt(x - 8, at + 3, name, { ...style, anchor: "end" }),
  );
  return lines + above.join("") + beside.join("");
}

/** The names in the middle of their segments, moved on where they would cover the one before. */
function spread(segments: readonly Segment[], toPixel: (position: number) => number, apart: number) {
  let free = -Infinity;
  return segments.map(({ name, start, end }) => {
    const at = Math.max(toPixel((start + end) / 2), free);
    free = at + apart;
    return { name, at };
  });
}

function checkSegments(segments: readonly Segment[], length: number, label: string): void {
  for (const { name, start, end } of segments) {
    if (!(start >= 0 && start < end && end <= length)) {
      throw new InputError(`${label}: ${name} is [${start}, ${end}), which does not lie within [0, ${length})`);
    }
  }
}
