import path from "node:path";

import type { RawImage } from "../input/image/decode.js";
import { packageRoot } from "../base/package-root.js";
import { readReference, type Reference } from "../parity/reference.js";

/**
 * What transformers computes of the demo checkpoint for one picture and prompt: what leaves each block, and the answer.
 */
export const demoReference = (): Promise<Reference> =>
  readReference(path.join(packageRoot(), "weights", "demo-reference"));

/** The reference's picture, which has the size that the model takes. */
export function pictureOf({ inputs }: Reference): RawImage {
  const { shape, values } = inputs.get("pixel_bytes")!;
  return { data: values as Uint8Array, height: shape[1]!, width: shape[2]! };
}
