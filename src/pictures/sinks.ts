import { largest, type SegmentMass } from "./page/attention-rows.js";
import { numberText } from "./page/text.js";

export { massBySegment } from "./page/attention-rows.js";
export type { SegmentMass } from "./page/attention-rows.js";

/** Patches that attract most attention are named up to this many. */
export const NAMED_PATCHES = 3;

/**
 * Where the attention went, in words: the mass of every segment and of the three largest patches, counted from 0 row by
 * row: `image 0.61, bos 0.3, newline 0.09; largest patches 5: 0.2, 0: 0.11, 7: 0.05`.
 */
export function describeSinks(patches: ArrayLike<number>, masses: readonly SegmentMass[] = []): string {
  const segments = masses.map(({ name, mass }) => `${name} ${numberText(mass)}`).join(", ");
  const top = largest(patches, NAMED_PATCHES).map((patch) => `${patch}: ${numberText(patches[patch])}`);
  return `${segments}${segments === "" ? "" : "; "}largest patches ${top.join(", ")}`;
}
