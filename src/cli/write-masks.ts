import path from "node:path";

import { writeWholeFile } from "../../weights/write-file.js";
import { labelMap, type Mask, MAX_LABELS } from "../masks/mask.js";
import { encodeGreyPng } from "../pictures/png.js";
import { intoFolder } from "../checkpoints/saving/output-folder.js";

const LABELS = "labels.png";

/** Whether a file may be one that `writeMasks` writes. */
export const isMaskFile = (name: string): boolean => name === LABELS || /^[1-9]\d*\.png$/.test(name);

/**
 * Writes masks into a folder, which is made where it is missing: the mask of the n-th object as n.png, 0 outside and
 * 255 inside, and labels.png, whose pixels are the number of the last object that is there, or 0. Objects behind the
 * 255th are in no map. All files are there at the end, or none of them.
 */
export async function writeMasks(
  folder: string,
  objects: readonly { mask: Mask | null }[],
  { width, height }: { width: number; height: number },
): Promise<void> {
  const labels = labelMap(
    objects.slice(0, MAX_LABELS).map(({ mask }) => mask),
    { width, height },
  );
  const planes = objects.flatMap(({ mask }, i) => (mask ? [[`${i + 1}.png`, mask] as const] : []));
  await intoFolder(folder, { overwrite: true }, async (place) => {
    for (const [name, plane] of [...planes, [LABELS, labels] as const]) {
      await writeWholeFile(path.join(place, name), [await encodeGreyPng(plane)]);
    }
  });
}
