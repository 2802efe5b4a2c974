import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

import { labelMap, type Mask, MAX_LABELS } from "../masks/mask.js";
import { encodeGreyPng } from "../pictures/png.js";

/**
 * Writes masks into a folder, which is made where it is missing: the mask of the n-th object as n.png, 0 outside and 255 inside, and
 * labels.png, whose pixels are the number of the last object that is there, or 0. Objects behind the 255th are in no map.
 */
export async function writeMasks(
  folder: string,
  objects: readonly { mask: Mask | null }[],
  size: { width: number; height: number },
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const write = async (name: string, plane: Mask) => writeFile(path.join(folder, name), await encodeGreyPng(plane));
  for (const [i, { mask }] of objects.entries()) if (mask) await write(`${i + 1}.png`, mask);
  const { width, height } = size;
  const masks = objects.slice(0, MAX_LABELS).map(({ mask }) => mask);
  await write("labels.png", labelMap(masks, { width, height }));
}
