import sharp from "sharp";
import type { Rgb } from "../../../src/pictures/colour-map.js";
import { encodePng } from "../../../src/pictures/png.js";
import type { SeenPicture } from "../../../src/pictures/seen-picture.js";

/** A grey picture of the model's square. */
export async function greyPicture(side: number, originalSize = { width: side, height: side }): Promise<SeenPicture> {
  const data = new Uint8Array(side * side * 3).fill(128);
  return { png: await encodePng({ data, width: side, height: side }), originalSize };
}

/** A decoded PNG that tells its colours. */
export async function pixelsOf(png: Uint8Array) {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const colourAt = (x: number, y: number): Rgb => {
    const at = 3 * (Math.floor(y) * width + Math.floor(x));
    return [data[at], data[at + 1], data[at + 2]];
  };
  return { width, height, colourAt };
}

/** The rectangle of the first element with the given tag and, where named, attribute text. */
export function frameOf(svg: string, pattern: RegExp) {
  const found = svg.match(pattern);
  if (!found) throw new Error(`no ${pattern} in the drawing`);
  const number = (name: string) => Number(found[0].match(new RegExp(` ${name}="([-\\d.]+)"`))![1]);
  return { x: number("x"), y: number("y"), width: number("width"), height: number("height") };
}
