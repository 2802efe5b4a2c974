import { readFileSync } from "node:fs";
import path from "node:path";

import { fixtures } from "../../parity/reference.js";

type Resize = Record<"width" | "height" | "toWidth" | "toHeight", number> &
  Record<"floats" | "bytes" | `${"F" | "L"} ${"bilinear" | "bicubic"}`, string>;
type Paste = { height: number; width: number; box: [number, number, number, number]; divisor: 1024 | 1023 } & {
  map: number;
  hard: string;
  soft: string;
};
type RunLengths = { size: [number, number]; bits: string; counts: number[] | null; text: string; iou: number | null };
type AnswerCase = { height: number; width: number; bits: string; box: number[] | null; answer: string };

/** What Pillow, pycocotools and PyTorch make of masks; arrays are base64, `bits` a bit for each pixel. */
export const segmentationCases = JSON.parse(
  readFileSync(path.join(fixtures, "segmentation", "masks.json"), "utf8"),
) as { maps: string[]; pastes: Paste[]; resizes: Resize[]; runLengths: RunLengths[]; answers: AnswerCase[] };

/** The bytes of a case. */
export const bytes = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

/** The floats of a case. */
export const floats = (base64: string): Float32Array => new Float32Array(bytes(base64).buffer);

/** A mask of 0 and 255 out of bits. */
export function masked(base64: string, width: number, height: number): Uint8Array {
  const packed = bytes(base64);
  return Uint8Array.from({ length: width * height }, (_, i) => ((packed[i >> 3] >> (7 - (i & 7))) & 1) * 255);
}
