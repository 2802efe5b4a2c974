import path from "node:path";

import { toPng } from "../pictures/png.js";
import { writeOutput } from "./output-file.js";

/**
 * Writes a drawing as it is, or as PNG with `scale` pixels for each of its units. Throws `InputError` where that is
 * refused.
 */
export async function writePicture(file: string, svg: string, scale = 1): Promise<void> {
  await writeOutput(file, path.extname(file).toLowerCase() === ".svg" ? svg : await toPng(svg, scale));
}
