import { anything, checkOptions, flag, list, number, text, type OptionKinds } from "../base/options.js";
import { expectNormalisation, expectValues } from "./check.js";
import { LEGEND_HEIGHT, legendStrip } from "./legend.js";
import { element, FAINT, INK, LINE, svgDocument, textAt } from "./markup.js";
import { InputError } from "../base/errors.js";
import { type Normalisation, normalise } from "./page/scale.js";
import { sentence } from "./page/text.js";
import { paragraph } from "./paragraph.js";
import { type Frame, patchOverlay } from "./patch-overlay.js";
import { drawnSize, pictureUri, type SeenPicture } from "./seen-picture.js";

/** One query's attention over the patches in several layers and heads. */
export type HeadGalleryData = {
  /** [layers, heads, rows * columns]. */
  values: ArrayLike<number>;
  /** The numbers of the layers and heads, as they are labelled. */
  layers: readonly number[];
  heads: readonly number[];
  grid: readonly [rows: number, columns: number];
  title: string;
  /** Drawn under every map where given. */
  picture?: SeenPicture;
  /** Default "raw": one scale for all maps. */
  normalisation?: Normalisation;
  undoSquash?: boolean;
  /** Default 0.65 over a picture, 1 without. */
  opacity?: number;
  /** The longer side of one map in pixels. Default 72. */
  side?: number;
};

const KINDS: OptionKinds<HeadGalleryData> = {
  values: anything,
  layers: list,
  heads: list,
  grid: list,
  title: text,
  picture: anything,
  normalisation: anything,
  undoSquash: flag,
  opacity: number,
  side: number,
};

const MARGIN = 16;
const GAP = 6;
/** Heads of a single layer break into lines of this many. */
const PER_LINE = 8;

/**
 * Draws small multiples as SVG: a line for each layer and a column for each head, or the heads of one layer in lines of
 * eight. Throws `InputError` where the values do not fit layers, heads and grid.
 */
export function drawHeadGallery(data: HeadGalleryData): string {
  checkOptions("drawHeadGallery", data, KINDS);
  const { grid, layers, heads, picture, title, normalisation = "raw", opacity = picture ? 0.65 : 1 } = data;
  const maps = mapsOf(data);
  expectNormalisation(normalisation, maps, "drawHeadGallery");
  const scaled = normalise(maps, normalisation);
  const size = mapSize(data);
  const layout = layoutOf(layers, heads, size);
  const width = Math.max(layout.width, 320);
  const head = paragraph(MARGIN, 10, width, title, { size: 14, weight: "bold", fill: INK });
  const top = 22 + head.height;
  const draw = (map: Float64Array, i: number): string => {
    const { x, y, label } = layout.places[i];
    const frame = { x: MARGIN + x, y: top + y, ...size };
    return (
      textAt(frame.x, frame.y - 3, label, { size: 9, fill: FAINT }) +
      (picture ? element("use", { href: "#picture", x: frame.x, y: frame.y }) : "") +
      patchOverlay(map, grid, scaled.scales[i], frame, opacity) +
      element("rect", { ...frame, fill: "none", stroke: LINE })
    );
  };
  const bodies = scaled.maps.map(draw).join("");
  const legendTop = top + layout.height + 6;
  // Maps with a scale each have no legend in common.
  const legend = normalisation === "min-max" ? "" : legendStrip(scaled.scales[0], MARGIN, legendTop, width);
  const footTop = legendTop + (legend === "" ? 0 : LEGEND_HEIGHT + 6);
  const foot = paragraph(MARGIN, footTop, width, `${sentence(scaled.words)}.`);
  const height = footTop + foot.height + MARGIN;
  return svgDocument(
    width + 2 * MARGIN,
    height,
    title,
    definition(picture, size),
    head.markup,
    bodies,
    legend,
    foot.markup,
  );
}

function mapsOf({ values, layers, heads, grid: [rows, columns] }: HeadGalleryData): Float64Array[] {
  if (layers.length === 0 || heads.length === 0) throw new InputError("drawHeadGallery: name a layer and a head");
  const shape = { layers: layers.length, heads: heads.length, rows, columns };
  expectValues(values, shape, "drawHeadGallery: values");
  const all = Float64Array.from(values);
  const patches = rows * columns;
  return Array.from({ length: layers.length * heads.length }, (_, i) => all.slice(i * patches, (i + 1) * patches));
}

function mapSize({ picture, grid: [rows, columns], side = 72, undoSquash = false }: HeadGalleryData) {
  if (picture) return drawnSize(picture, side, undoSquash);
  const scale = side / Math.max(rows, columns);
  return { width: columns * scale, height: rows * scale };
}

/** The place of every map, layer by layer, and its label. */
function layoutOf(layers: readonly number[], heads: readonly number[], size: { width: number; height: number }) {
  const columns = layers.length === 1 ? Math.min(heads.length, PER_LINE) : heads.length;
  const [stepX, stepY] = [Math.max(size.width, 40) + GAP, size.height + GAP + 12];
  const places = layers.flatMap((layer, l) =>
    heads.map((head, h) => {
      const index = l * heads.length + h;
      const [x, y] = [(index % columns) * stepX, Math.floor(index / columns) * stepY + 6];
      return { x, y, label: `L${layer} H${head}` };
    }),
  );
  return { places, width: columns * stepX - GAP, height: Math.ceil(places.length / columns) * stepY };
}

function definition(picture: SeenPicture | undefined, size: Pick<Frame, "width" | "height">): string {
  if (picture === undefined) return "";
  const href = pictureUri(picture, "drawHeadGallery: picture");
  return element("defs", {}, element("image", { id: "picture", ...size, href, preserveAspectRatio: "none" }));
}
