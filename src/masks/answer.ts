import { MASK_SIDE } from "../../layers/mask-vae/mask-vae.js";
import { InputError } from "../base/errors.js";
import { checkOptions, oneOf } from "../base/options.js";
import { resizeFloats } from "../input/resize/resize-plane.js";
import { LOCATIONS, type PixelBox } from "../grammar/box.js";
import type { MaskCodec } from "./codec.js";
import { checkMask, isInside, type Mask } from "./mask.js";
import { roundHalfToEven } from "./paste.js";

/** An object to learn: its mask, what it is called, and its box (default: the smallest around what is inside). */
export type MaskedObject = { mask: Mask; label: string; box?: PixelBox | undefined };

/**
 * The answer to `segment` that a model learns from masks: `<loc....>` x 4, `<seg...>` x 16 and the label of each
 * object, joined by " ; ". A location is round(corner / side · 1023), halves to the even one, at most 1023 (`divisor`
 * 1024: · 1024); the mask is cut to whole pixels, resized to 64 x 64 (bilinear, antialiased) and encoded as 2 (m / 255
 * - 0.5). Throws `InputError` for an empty mask, a box without area or outside of the picture, and a label that could
 * not be read back. Source: google-research/big_vision, pp/proj/paligemma/segmentation.py, `get_refcoco_mask2str`.
 */
export async function maskAnswer(
  codec: MaskCodec,
  objects: readonly MaskedObject[],
  options: { divisor?: 1024 | 1023 | undefined } = {},
): Promise<string> {
  const { divisor = 1023 } = checkOptions("maskAnswer", options, { divisor: oneOf(1024, 1023) });
  if (objects.length === 0) throw new InputError("objects: expected at least one, received none");
  const parts = objects.map(({ mask, label, box }, i) => {
    checkMask(mask, `objects[${i}].mask`);
    const where = `objects[${i}]${label ? ` (${label})` : ""}`;
    const corners = box ?? boundsOf(mask, where);
    return {
      map: mapOf(mask, corners, where),
      locations: locationsOf(corners, mask, { divisor, where }),
      label: checkLabel(label, where),
    };
  });
  const codes = await codec.encode(parts.map(({ map }) => map));
  const token = (kind: string, digits: number) => (value: number) => `<${kind}${String(value).padStart(digits, "0")}>`;
  return parts
    .map(({ locations, label }, i) => {
      const tokens = [...locations.map(token("loc", 4)), ...codes[i].map(token("seg", 3))].join("");
      return label === "" ? tokens : `${tokens} ${label}`;
    })
    .join(" ; ");
}

/** The smallest box around what is inside. */
function boundsOf({ data, width, height }: Mask, where: string): PixelBox {
  const bounds = { left: width, top: height, right: 0, bottom: 0 };
  data.forEach((value, at) => {
    if (!isInside(value)) return;
    const [x, y] = [at % width, Math.floor(at / width)];
    bounds.left = Math.min(bounds.left, x);
    bounds.right = Math.max(bounds.right, x + 1);
    bounds.top = Math.min(bounds.top, y);
    bounds.bottom = y + 1;
  });
  if (bounds.right === 0) throw new InputError(`${where}: nothing is inside the mask`);
  return bounds;
}

function locationsOf(
  { left, top, right, bottom }: PixelBox,
  { width, height }: Mask,
  { divisor, where }: { divisor: number; where: string },
): number[] {
  const location = (corner: number, side: number) =>
    Math.min(roundHalfToEven((corner / side) * divisor), LOCATIONS - 1);
  const locations = [location(top, height), location(left, width), location(bottom, height), location(right, width)];
  if (locations[2] > locations[0] && locations[3] > locations[1]) return locations;
  throw new InputError(`${where}: its box is too narrow for locations, ${divisor} along each side of the picture`);
}

/** The part of a mask in a box as the encoder takes it, [64, 64] in [-1, 1]. */
function mapOf({ data, width, height }: Mask, box: PixelBox, where: string): Float32Array {
  const [left, top, right, bottom] = [box.left, box.top, box.right, box.bottom].map(roundHalfToEven);
  if (!(left >= 0 && top >= 0 && left < right && top < bottom && right <= width && bottom <= height)) {
    const found = `(${box.left}, ${box.top}) to (${box.right}, ${box.bottom})`;
    throw new InputError(`${where}: expected a box of at least a pixel within ${width} x ${height}, received ${found}`);
  }
  const cut = { data: new Float32Array((right - left) * (bottom - top)), width: right - left, height: bottom - top };
  for (let y = top; y < bottom; y++) {
    cut.data.set(data.subarray(y * width + left, y * width + right), (y - top) * cut.width);
  }
  const { data: grey } = resizeFloats(cut, MASK_SIDE, MASK_SIDE, "pillow-bilinear");
  return grey.map((value) => 2 * (value / 255 - 0.5));
}

function checkLabel(label: string, where: string): string {
  const trimmed = label.trim();
  if (!/[;<>\n]/.test(trimmed)) return trimmed;
  throw new InputError(`${where}: a label with ; < > or a new line could not be read back`);
}
