import { InputError } from "../base/errors.js";
import { anything, checkOptions, list, text, type OptionKinds } from "../base/options.js";
import { element, INK, PAPER, svgDocument, textAt } from "./markup.js";
import { shortText } from "./page/text.js";
import { pngSize } from "./seen-picture.js";

/** One box with its label, in pixels of the picture. */
export type DrawnBox = {
  label: string;
  box: { left: number; top: number; right: number; bottom: number };
  /** In [0, 1]; printed where it is given. */
  score?: number;
  /** A PNG file of the picture's size, laid over the picture beneath all boxes. */
  overlay?: Uint8Array;
};

/** Boxes over the picture that they were found in. */
export type BoxesData = {
  /** The picture itself, upright and unsquashed, as a PNG file. */
  png: Uint8Array;
  objects: readonly DrawnBox[];
  title: string;
};

const KINDS: OptionKinds<BoxesData> = {
  png: anything,
  objects: list,
  title: text,
};

/**
 * Colours that stay apart for the colour-blind, dark enough for white letters, one for each label in turn.
 * Source: Okabe and Ito, "Color Universal Design" (2008), without yellow and black.
 */
const COLOURS = ["#0072b2", "#d55e00", "#00795a", "#a8417c", "#2f6f93", "#8a5a00"];

/** The colour of each object: one for each label, in turn. */
export function coloursOf(objects: readonly { label: string }[]): string[] {
  const labels = [...new Set(objects.map(({ label }) => label))];
  return objects.map(({ label }) => COLOURS[labels.indexOf(label) % COLOURS.length]!);
}

/**
 * Draws boxes, labels and scores over a picture in its own pixels, as SVG. Throws `InputError` for a box that is no
 * box.
 */
export function drawBoxes(data: BoxesData): string {
  const { png, objects, title } = checkOptions("drawBoxes", data, KINDS);
  const { width, height } = pngSize(png, "drawBoxes: png");
  const whole = (file: Uint8Array) =>
    element("image", { href: `data:image/png;base64,${Buffer.from(file).toString("base64")}`, width, height });
  const unit = Math.max(width, height) / 100;
  const colours = coloursOf(objects);
  const overlays = objects.flatMap(({ overlay }) => (overlay ? [whole(overlay)] : []));
  const marks = objects.map((object, i) => {
    expectBox(object, `drawBoxes: objects[${i}]`);
    return mark(object, colours[i], unit, width);
  });
  return svgDocument(width, height, title, whole(png), ...overlays, ...marks);
}

function mark({ label, box, score }: DrawnBox, colour: string, unit: number, width: number): string {
  const size = { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
  const words = `${shortText(label, 32)}${score === undefined ? "" : ` ${score.toFixed(2)}`}`;
  const letter = Math.max(3.2 * unit, 8);
  const plate = { width: Math.min(width, words.length * 0.62 * letter + letter), height: 1.5 * letter };
  // Over the box, or inside of it where there is no room.
  const y = box.top >= plate.height ? box.top - plate.height : box.top;
  const x = Math.max(0, Math.min(box.left, width - plate.width));
  return (
    element("rect", { ...size, fill: "none", stroke: PAPER, "stroke-width": 1.1 * unit }) +
    element("rect", { ...size, fill: "none", stroke: colour, "stroke-width": 0.7 * unit }) +
    element("rect", { x, y, ...plate, fill: colour, stroke: INK, "stroke-width": 0.1 * unit }) +
    textAt(x + letter / 2, y + 1.1 * letter, words, { size: letter, fill: PAPER, weight: "bold" })
  );
}

function expectBox({ box: { left, top, right, bottom } }: DrawnBox, label: string): void {
  if ([left, top, right, bottom].every(Number.isFinite) && right > left && bottom > top) return;
  throw new InputError(`${label}: expected a box with an area, got (${left}, ${top}) to (${right}, ${bottom})`);
}
