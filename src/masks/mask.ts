import { InputError } from "../base/errors.js";
import { described } from "../base/options.js";
import type { Plane } from "../input/resize/resize-plane.js";

/**
 * A mask over a picture, row by row in the picture's pixels, upright as it is seen: 0 outside, 255 inside. A soft mask
 * has the values between as well, and is inside above 127.
 */
export type Mask = Plane;

/** Whether a mask's value is inside. */
export const isInside = (value: number): boolean => value > 127;

/**
 * Throws `InputError` that begins with `label` unless there is one value for each pixel, of `size` where one is given.
 */
export function checkMask(mask: Mask, label: string, size?: { width: number; height: number }): void {
  if (typeof mask !== "object" || mask === null) {
    throw new InputError(`${label}: expected a mask, received ${described(mask)}`);
  }
  const { data, width, height } = mask;
  const sized = [width, height].every((side) => Number.isInteger(side) && side > 0);
  const expected = size ?? mask;
  const same = width === expected.width && height === expected.height;
  if (sized && same && data instanceof Uint8Array && data.length === width * height) return;
  const received = `${data?.length ?? 0} bytes of ${width} x ${height}`;
  throw new InputError(`${label}: expected a mask of ${expected.width} x ${expected.height}, received ${received}`);
}

/** Pixels that are inside. */
export const maskArea = ({ data }: Mask): number => data.reduce((sum, value) => sum + (isInside(value) ? 1 : 0), 0);

/**
 * Intersection over union of two masks, in [0, 1]; 0 where both are empty. Throws `InputError` for masks of different
 * sizes.
 */
export function maskIou(a: Mask, b: Mask): number {
  for (const mask of [a, b]) checkMask(mask, "maskIou");
  if (a.width !== b.width || a.height !== b.height) {
    throw new InputError(`maskIou: masks of ${a.width} x ${a.height} and ${b.width} x ${b.height} cannot be compared`);
  }
  let [common, union] = [0, 0];
  for (let i = 0; i < a.data.length; i++) {
    const [inA, inB] = [isInside(a.data[i]), isInside(b.data[i])];
    if (inA && inB) common++;
    if (inA || inB) union++;
  }
  return union > 0 ? common / union : 0;
}

/** Masks that one map can tell apart: a byte for each pixel, and 0 for none of them. */
export const MAX_LABELS = 255;

/**
 * One picture of several masks: 0 where none is inside, else the number of the last mask that is, counted from 1 (null
 * counts and is nowhere). Masks are of one size, at most `MAX_LABELS` of them. Throws `InputError` otherwise.
 */
export function labelMap(masks: readonly (Mask | null)[], { width, height }: { width: number; height: number }): Mask {
  if (masks.length > MAX_LABELS) {
    throw new InputError(`labelMap: expected at most ${MAX_LABELS} masks, received ${masks.length}`);
  }
  const data = new Uint8Array(width * height);
  masks.forEach((mask, i) => {
    if (mask === null) return;
    checkMask(mask, `labelMap: masks[${i}]`, { width, height });
    mask.data.forEach((value, at) => {
      if (isInside(value)) data[at] = i + 1;
    });
  });
  return { data, width, height };
}
