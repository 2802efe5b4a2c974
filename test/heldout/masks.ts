import { type Mask, maskIou } from "../../src/masks/mask.js";
import { decodeRunLengths } from "../../src/masks/run-lengths.js";
import type { HeldoutMask } from "./heldout.js";

/** Pixels along each side of a held-out picture. */
const SIDE = 224;

/**
 * The IoU of each expected mask with that of the answer's object of the same label, in order; 0 where there is none,
 * and for every object too many.
 */
export function segmentationIous(
  objects: readonly { label: string; mask: Mask | null }[],
  expected: readonly HeldoutMask[],
): number[] {
  const given = [...objects];
  const matched = expected.map(({ label, counts }) => {
    const index = given.findIndex((object) => object.label === label);
    if (index === -1) return 0;
    const [{ mask }] = given.splice(index, 1);
    return mask === null ? 0 : maskIou(mask, decodeRunLengths({ size: [SIDE, SIDE], counts }));
  });
  return [...matched, ...given.map(() => 0)];
}
