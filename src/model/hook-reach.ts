import { InputError } from "../base/errors.js";
import type { ModelInputs } from "./inputs.js";

const isOfPictures = (name: string): boolean => /^(vision|projector)\./.test(name);

/**
 * Throws `InputError` where one of the hooks named cannot fire in a pass over a prompt with these inputs: those of the
 * vision tower and the projector fire where pixels go through them, and neither for encoded pictures nor without
 * pictures. `who` asks for them.
 */
export function requireFiring(
  who: string,
  names: Iterable<string>,
  { pixelValues, imageRows }: Pick<ModelInputs, "pixelValues" | "imageRows">,
): void {
  if (pixelValues) return;
  const silent = [...names].find(isOfPictures);
  if (silent === undefined) return;
  const why = imageRows
    ? "a picture of this call was encoded before, so that the vision tower and the projector do not run; give the picture itself"
    : "these inputs hold no picture; give pixelValues";
  throw new InputError(`${who}: ${silent} cannot fire: ${why}`);
}

/** Throws `InputError` where none of the hooks named can fire while a picture is encoded. */
export function requireFiringInEncoder(who: string, names: readonly string[]): void {
  if (names.length === 0 || names.some(isOfPictures)) return;
  throw new InputError(
    `${who}: ${names[0]} cannot fire: encoding a picture runs the vision tower and the projector alone`,
  );
}
