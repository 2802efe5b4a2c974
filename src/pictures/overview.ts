import { anything, checkOptions, number, text, type OptionKinds } from "../base/options.js";
import { cellsOver } from "./cells.js";
import { expectNormalisation, expectValues } from "./check.js";
import { colourAt, hexOf } from "./colour-map.js";
import { LEGEND_HEIGHT, legendStrip } from "./legend.js";
import { element, FAINT, INK, LINE, svgDocument, textAt } from "./markup.js";
import { fractionOf, type Normalisation, normalise } from "./page/scale.js";
import { sentence } from "./page/text.js";
import { paragraph } from "./paragraph.js";

/** A number for every layer and head, such as the mass that a query puts on the picture. */
export type OverviewData = {
  /** [layers, heads]. Negative numbers are drawn on a diverging scale around 0. */
  values: ArrayLike<number>;
  layers: number;
  heads: number;
  title: string;
  /** What a cell says, in words: "mass on image". */
  meaning: string;
  /** "raw", "min-max" or "log"; default "raw". */
  normalisation?: Exclude<Normalisation, "renormalised">;
  /** The value at the end of the scale, to share it with other pictures. */
  high?: number;
};

const KINDS: OptionKinds<OverviewData> = {
  values: anything,
  layers: number,
  heads: number,
  title: text,
  meaning: text,
  normalisation: anything,
  high: number,
};

const MARGIN = 16;
const AXIS = 40;

/** Draws layers x heads as a heat map in SVG, layer 0 at the top. Throws `InputError` where the values do not fit. */
export function drawOverview(data: OverviewData): string {
  const { values, layers, heads, title, meaning, normalisation = "raw" } = checkOptions("drawOverview", data, KINDS);
  expectValues(values, { layers, heads }, "drawOverview: values");
  expectNormalisation(normalisation, [values], "drawOverview");
  const { maps, scales, words } = normalise([values], normalisation, data.high);
  const [cellWidth, cellHeight] = [Math.max(28, 240 / heads), 20];
  const size = { width: heads * cellWidth, height: layers * cellHeight };
  const head = paragraph(MARGIN, 10, AXIS + size.width, title, { size: 14, weight: "bold", fill: INK });
  const frame = { x: MARGIN + AXIS, y: 42 + head.height, ...size };
  const colourOf = (layer: number, h: number) =>
    hexOf(colourAt(scales[0].colours, fractionOf(maps[0][layer * heads + h], scales[0])));
  const legendTop = frame.y + frame.height + 12;
  const foot = paragraph(
    MARGIN,
    legendTop + LEGEND_HEIGHT + 6,
    AXIS + size.width,
    `Cell: ${meaning}. ${sentence(words)}.`,
  );
  return svgDocument(
    frame.x + frame.width + MARGIN,
    legendTop + LEGEND_HEIGHT + 6 + foot.height + MARGIN,
    title,
    head.markup,
    axes(frame, layers, heads),
    cellsOver(frame, [layers, heads], colourOf),
    element("rect", { ...frame, fill: "none", stroke: LINE }),
    legendStrip(scales[0], frame.x, legendTop, frame.width),
    foot.markup,
  );
}

type Frame = { x: number; y: number; width: number; height: number };

/** Names and numbers of both axes; numbers that would touch are left out. */
function axes({ x, y, width, height }: Frame, layers: number, heads: number): string {
  const style = { size: 10, fill: FAINT };
  const every = Math.ceil(18 / (width / heads));
  const columns = Array.from({ length: heads }, (_, h) =>
    h % every === 0 ? textAt(x + ((h + 0.5) * width) / heads, y - 5, String(h), { ...style, anchor: "middle" }) : "",
  );
  const rows = Array.from({ length: layers }, (_, l) =>
    textAt(x - 6, y + ((l + 0.5) * height) / layers + 3.5, String(l), { ...style, anchor: "end" }),
  );
  const names =
    textAt(x + width / 2, y - 19, "head", { size: 11, anchor: "middle" }) +
    textAt(x - 26, y + height / 2, "layer", { size: 11, anchor: "middle", rotate: -90 });
  return names + columns.join("") + rows.join("");
}
