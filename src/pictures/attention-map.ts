import { InputError } from "../base/errors.js";
import { anything, checkOptions, flag, list, number, text, type OptionKinds } from "../base/options.js";
import { expectNormalisation, expectValues } from "./check.js";
import { LEGEND_HEIGHT, legendStrip } from "./legend.js";
import { element, INK, LINE, svgDocument } from "./markup.js";
import { leaveOut } from "./page/attention-rows.js";
import { type Normalisation, normalise } from "./page/scale.js";
import { sentence } from "./page/text.js";
import { paragraph } from "./paragraph.js";
import { patchOverlay } from "./patch-overlay.js";
import { drawnSize, pictureUri, type SeenPicture } from "./seen-picture.js";
import { describeSinks, type SegmentMass } from "./sinks.js";

/** One query's attention over the patches of a picture, and how to draw it. */
export type AttentionMapData = {
  /** [rows * columns], row by row. */
  values: ArrayLike<number>;
  grid: readonly [rows: number, columns: number];
  picture: SeenPicture;
  /** What is shown: the query, the layer and the head in words. */
  title: string;
  /** Masses of the segments of the whole row (`massBySegment`), printed under the map. */
  masses?: readonly SegmentMass[] | undefined;
  /** Default "raw". */
  normalisation?: Normalisation | undefined;
  /** The value at the end of the scale, to share it with other pictures. Default: the largest value here. */
  high?: number | undefined;
  /** Patches that are crossed out and not counted for the scale. */
  exclude?: readonly number[] | undefined;
  /** Draw in the proportions that the picture had before it was squashed. Default false: the model's square. */
  undoSquash?: boolean | undefined;
  /** Of the colours over the picture, in [0, 1]. Default 0.65. */
  opacity?: number | undefined;
  /** The longer side of the map in pixels. Default 448. */
  side?: number | undefined;
};

const KINDS: OptionKinds<AttentionMapData> = {
  values: anything,
  grid: list,
  picture: anything,
  title: text,
  masses: list,
  normalisation: anything,
  high: number,
  exclude: list,
  undoSquash: flag,
  opacity: number,
  side: number,
};

const MARGIN = 16;

/**
 * Draws a map over its picture as SVG: title, picture, legend, how it was normalised, and where the attention went.
 * Throws `InputError` where the values do not fit the grid or a patch to exclude is not in it.
 */
export function drawAttentionMap(data: AttentionMapData): string {
  const {
    grid,
    picture,
    title,
    normalisation = "raw",
    opacity = 0.65,
    side = 448,
    undoSquash = false,
  } = checkOptions("drawAttentionMap", data, KINDS);
  checkMap(data, normalisation);
  const exclude = data.exclude ?? [];
  const { maps, scales, words } = normalise([leaveOut(data.values, exclude)], normalisation, data.high);
  const href = pictureUri(picture, "drawAttentionMap: picture");
  const size = drawnSize(picture, side, undoSquash);
  const width = Math.max(size.width, 240);
  const head = paragraph(MARGIN, 10, width, title, { size: 14, weight: "bold", fill: INK });
  const frame = { x: MARGIN, y: 18 + head.height, ...size };
  const legendTop = frame.y + frame.height + 10;
  const squash = undoSquash ? "in the proportions before the squash" : "on the square that the model saw";
  const out = exclude.length === 0 ? "" : ` Left out (crossed): patches ${exclude.join(", ")}.`;
  const caption = `${sentence(words)}. ${sentence(describeSinks(data.values, data.masses))}.${out} Drawn ${squash}.`;
  const foot = paragraph(MARGIN, legendTop + LEGEND_HEIGHT + 6, width, caption);
  return svgDocument(
    width + 2 * MARGIN,
    legendTop + LEGEND_HEIGHT + 6 + foot.height + MARGIN,
    title,
    head.markup,
    element("image", { ...frame, href, preserveAspectRatio: "none" }),
    patchOverlay(maps[0], grid, scales[0], frame, opacity),
    element("rect", { ...frame, fill: "none", stroke: LINE }),
    legendStrip(scales[0], MARGIN, legendTop, width),
    foot.markup,
  );
}

function checkMap({ values, grid: [rows, columns], exclude = [] }: AttentionMapData, how: Normalisation): void {
  expectValues(values, { rows, columns }, "drawAttentionMap: values");
  expectNormalisation(how, [values], "drawAttentionMap");
  const outside = exclude.find((patch) => !Number.isInteger(patch) || patch < 0 || patch >= values.length);
  if (outside !== undefined) {
    throw new InputError(`drawAttentionMap: exclude names patch ${outside}; there are 0 to ${values.length - 1}`);
  }
}
