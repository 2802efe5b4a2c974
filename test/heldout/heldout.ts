import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of the held-out pictures. */
export const heldoutFolder = path.dirname(fileURLToPath(import.meta.url));

/** What is asked about a picture that the demo checkpoint has never seen, and what is right. */
export type HeldoutItem = { kind: string; prompt: string; expected: string; masks?: HeldoutMask[] };

/**
 * What a "segment" item's object covers of the 224 x 224 picture, in prompt order. counts: COCO's run lengths, the
 * pixels column by column, zeros first.
 */
export type HeldoutMask = { label: string; counts: number[] };

/** A held-out picture. */
export type HeldoutPicture = { file: string; seed: number; items: HeldoutItem[] };

/** Every held-out picture. */
export function heldoutPictures(): HeldoutPicture[] {
  const text = readFileSync(path.join(heldoutFolder, "heldout.json"), "utf8");
  return (JSON.parse(text) as { pictures: HeldoutPicture[] }).pictures;
}
