import { resizeFloats, resizeGrey } from "../input/resize/resize-plane.js";
import { type Box, LOCATIONS, toPixels } from "../grammar/box.js";
import type { Mask } from "./mask.js";
import { MASK_SIDE } from "../../layers/mask-vae/mask-vae.js";

type Size = { width: number; height: number };
type WholeBox = { left: number; top: number; width: number; height: number };

/**
 * A decoded mask in its picture: the box's corners cut off to whole pixels, the map [64, 64] resized to it as floats
 * (Pillow's bilinear, antialiased where it shrinks), inside above 0. A box without a whole pixel gives an empty mask.
 * Source: google-research/big_vision, evaluators/proj/paligemma/transfers/segmentation.py, `run`; there the divisor is
 * 1023.
 */
export function pasteHard(map: Float32Array, box: Box, size: Size, divisor: 1024 | 1023 = LOCATIONS): Mask {
  return pasted(wholeBox(box, size, divisor, Math.trunc), size, (width, height) => {
    const { data } = resizeFloats({ data: map, width: MASK_SIDE, height: MASK_SIDE }, width, height, "pillow-bilinear");
    return Uint8Array.from(data, (value) => (value > 0 ? 255 : 0));
  });
}

/**
 * The same with soft edges, 0 to 255: the box's corners rounded to whole pixels (halves to the even one), the map as
 * bytes, clip(map / 2 + 0.5, 0, 1) · 255 cut off, resized by Pillow's bicubic. Source: the demonstration of PaliGemma
 * on Hugging Face (space paligemma-hf, `extract_objs`).
 */
export function pasteSoft(map: Float32Array, box: Box, size: Size, divisor: 1024 | 1023 = LOCATIONS): Mask {
  return pasted(wholeBox(box, size, divisor, roundHalfToEven), size, (width, height) => {
    // Rounded to float32 where NumPy does: at a whole number it decides what is cut off.
    const part = (value: number) => Math.min(Math.max(Math.fround(value / 2 + 0.5), 0), 1);
    const grey = Uint8Array.from(map, (value) => Math.fround(part(value) * 255));
    return resizeGrey({ data: grey, width: MASK_SIDE, height: MASK_SIDE }, width, height, "pillow-bicubic").data;
  });
}

/** The nearest whole number, of two equally near ones the even one, as Python and NumPy round. */
export function roundHalfToEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low;
}

function wholeBox(box: Box, size: Size, divisor: 1024 | 1023, whole: (at: number) => number): WholeBox {
  const { left, top, right, bottom } = toPixels(box, size, divisor);
  const [x0, y0, x1, y1] = [left, top, right, bottom].map(whole);
  return { left: x0, top: y0, width: x1 - x0, height: y1 - y0 };
}

function pasted(box: WholeBox, { width, height }: Size, resized: (width: number, height: number) => Uint8Array): Mask {
  const mask = { data: new Uint8Array(width * height), width, height };
  if (box.width < 1 || box.height < 1) return mask;
  const inner = resized(box.width, box.height);
  for (let y = 0; y < box.height; y++) {
    const row = inner.subarray(y * box.width, (y + 1) * box.width);
    mask.data.set(row, (box.top + y) * width + box.left);
  }
  return mask;
}
