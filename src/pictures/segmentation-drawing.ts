import { checkMask, isInside, type Mask } from "../masks/mask.js";
import { anything, checkOptions, list, text, type OptionKinds } from "../base/options.js";
import { type BoxesData, coloursOf, drawBoxes, type DrawnBox } from "./box-drawing.js";
import { encodeRgbaPng } from "./png.js";
import { pngSize } from "./seen-picture.js";

/** Boxes and masks over the picture that they were found in. */
export type SegmentationsData = Omit<BoxesData, "objects"> & {
  objects: readonly (DrawnBox & { mask: Mask | null })[];
};

const KINDS: OptionKinds<SegmentationsData> = {
  png: anything,
  objects: list,
  title: text,
};

/** How much of the picture a mask hides inside, of 255; its rim hides all. */
const VEIL = 120;

/**
 * Draws masks in the colours of their labels, half transparent with a rim, and boxes over a picture in its own pixels,
 * as SVG that needs no other file. Throws `InputError` for a mask of another size than the picture, and as `drawBoxes`
 * does.
 */
export async function drawSegmentations(data: SegmentationsData): Promise<string> {
  const { png, objects, title } = checkOptions("drawSegmentations", data, KINDS);
  const size = pngSize(png, "drawSegmentations: png");
  const colours = coloursOf(objects);
  const drawn: DrawnBox[] = [];
  for (const [i, { mask, ...object }] of objects.entries()) {
    if (mask) checkMask(mask, `drawSegmentations: objects[${i}].mask`, size);
    drawn.push(mask ? { ...object, overlay: await encodeRgbaPng(tinted(mask, colours[i])) } : object);
  }
  return drawBoxes({ png, objects: drawn, title });
}

/** A mask in one colour "#rrggbb", as red, green, blue and opacity. */
function tinted(mask: Mask, colour: string): Parameters<typeof encodeRgbaPng>[0] {
  const { data, width, height } = mask;
  const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const rim = Math.max(1, Math.round(Math.max(width, height) / 200));
  const pixels = new Uint8Array(4 * data.length);
  data.forEach((value, at) => {
    if (value === 0) return;
    pixels.set(channels, 4 * at);
    pixels[4 * at + 3] = onRim(mask, at, rim) ? 255 : (value * VEIL) / 255;
  });
  return { data: pixels, width, height };
}

/**
 * Whether a pixel is inside and `rim` pixels away, along a row or a column, is outside; beyond the picture is neither.
 */
function onRim({ data, width, height }: Mask, at: number, rim: number): boolean {
  if (!isInside(data[at])) return false;
  const [x, y] = [at % width, Math.floor(at / width)];
  const outside = (dx: number, dy: number) => {
    const [column, row] = [x + dx, y + dy];
    return column >= 0 && row >= 0 && column < width && row < height && !isInside(data[row * width + column]);
  };
  return outside(-rim, 0) || outside(rim, 0) || outside(0, -rim) || outside(0, rim);
}
