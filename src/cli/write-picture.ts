import { writeFile } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../errors.js";
import { toPng } from "../pictures/png.js";

const isSvg = (file: string): boolean => path.extname(file).toLowerCase() === ".svg";

/** Throws `InputError` unless the file's ending is that of a picture that can be written: before anything is computed. */
export function requirePicture(file: string): void {
  if (isSvg(file) || path.extname(file).toLowerCase() === ".png") return;
  throw new InputError(`--out ${file}: expected a .png or .svg file`);
}

/** Writes a drawing as it is, or as PNG with `scale` pixels for each of its units. */
export async function writePicture(file: string, svg: string, scale = 1): Promise<void> {
  await writeFile(file, isSvg(file) ? svg : await toPng(svg, scale));
}
