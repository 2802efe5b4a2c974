import type { Mask } from "../masks/mask.js";
import { encodeRunLengths, type RunLengths } from "../masks/run-lengths.js";
import type { Detection } from "./detect.js";

/**
 * One object in COCO's result form; `bbox` is [left, top, width, height] in pixels, `segmentation` the mask where there
 * is one.
 */
export type CocoResult = {
  image_id: number | string;
  category_id: number;
  bbox: [number, number, number, number];
  segmentation?: RunLengths;
  score: number;
};

/**
 * Detections or segmentations as COCO results. `categories` numbers the labels; objects of other labels are left out.
 * Source of the form: cocodataset.org, "Results Format".
 */
export function toCoco(
  objects: readonly (Detection & { mask?: Mask | null })[],
  imageId: number | string,
  categories: Readonly<Record<string, number>>,
): CocoResult[] {
  return objects
    .filter(({ label }) => Object.hasOwn(categories, label))
    .map(({ label, box: { left, top, right, bottom }, score, mask }) => ({
      image_id: imageId,
      category_id: categories[label]!,
      bbox: [left, top, right - left, bottom - top],
      ...(mask && { segmentation: encodeRunLengths(mask) }),
      score,
    }));
}

/**
 * Detections as YOLO lines, `class centerX centerY width height` in parts of the picture; labels that `classes` has not
 * are left out.
 */
export function toYolo(
  objects: readonly Detection[],
  { width, height }: { width: number; height: number },
  classes: readonly string[],
): string {
  return objects
    .filter(({ label }) => classes.includes(label))
    .map(({ label, box: { left, top, right, bottom } }) => {
      const numbers = [
        (left + right) / 2 / width,
        (top + bottom) / 2 / height,
        (right - left) / width,
        (bottom - top) / height,
      ];
      return `${classes.indexOf(label)} ${numbers.map((value) => value.toFixed(6)).join(" ")}\n`;
    })
    .join("");
}
