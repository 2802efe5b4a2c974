import { InputError } from "../base/errors.js";
import { checkOptions, flag } from "../base/options.js";
import { MAX_IMAGE_PIXELS } from "../input/image/decode.js";
import { isInside, type Mask } from "./mask.js";

/**
 * A mask as COCO writes it: [height, width], and lengths of runs of pixels column by column, outside first, as numbers
 * or as text.
 */
export type RunLengths = { size: [height: number, width: number]; counts: number[] | string };

/** A mask as run lengths: `counts` as numbers, or, where `compressed`, as the text that COCO's results hold. */
export function encodeRunLengths(mask: Mask, options: { compressed?: boolean | undefined } = {}): RunLengths {
  const { compressed = true } = checkOptions("encodeRunLengths", options, { compressed: flag });
  const counts = countsOf(mask);
  return { size: [mask.height, mask.width], counts: compressed ? textOf(counts) : counts };
}

/**
 * The mask of run lengths, 0 and 255. Throws `InputError` for lengths that do not fill the size, and text that is
 * damaged.
 */
export function decodeRunLengths({ size, counts }: RunLengths): Mask {
  const [height, width] = Array.isArray(size) ? size : [0, 0];
  if (![height, width].every((side) => Number.isInteger(side) && side > 0) || height * width > MAX_IMAGE_PIXELS) {
    throw new InputError(`run lengths: expected a size [height, width], received ${JSON.stringify(size)}`);
  }
  const runs = typeof counts === "string" ? parseText(counts) : counts;
  const data = new Uint8Array(height * width);
  let at = 0;
  for (const [i, run] of runs.entries()) {
    if (!Number.isInteger(run) || run < 0 || at + run > data.length) throw wrongCounts(`${i + 1}. run is ${run}`, data);
    if (i % 2 === 1) for (let p = at; p < at + run; p++) data[(p % height) * width + Math.floor(p / height)] = 255;
    at += run;
  }
  if (at !== data.length) throw wrongCounts(`runs have ${at}`, data);
  return { data, width, height };
}

const wrongCounts = (what: string, { length }: Uint8Array): InputError =>
  new InputError(`run lengths: the ${what}, which does not fit ${length} pixels`);

function countsOf({ data, width, height }: Mask): number[] {
  const counts: number[] = [];
  let [run, inside] = [0, false];
  for (let x = 0; x < width; x++) {
    for (let p = x; p < data.length; p += width) {
      if (isInside(data[p]) !== inside) {
        counts.push(run);
        [run, inside] = [0, !inside];
      }
      run++;
    }
  }
  counts.push(run);
  return height > 0 ? counts : [];
}

/** Bits of a count that one letter holds, the bit that says that more follow, and the letter of 0. */
const [BITS, MORE, ZERO] = [5, 32, 48];

/**
 * Lengths as text: each less the one two before it (from the fourth on), in pieces of five bits, lowest first, sign and
 * all. Source: cocodataset/cocoapi, common/maskApi.c, `rleToString`.
 */
function textOf(counts: readonly number[]): string {
  let text = "";
  counts.forEach((count, i) => {
    let rest = i > 2 ? count - counts[i - 2] : count;
    for (let more = true; more;) {
      const piece = rest & 31;
      rest >>= BITS;
      more = piece & 16 ? rest !== -1 : rest !== 0;
      text += String.fromCharCode(ZERO + piece + (more ? MORE : 0));
    }
  });
  return text;
}

/** The way back. Source: cocodataset/cocoapi, common/maskApi.c, `rleFrString`. */
function parseText(text: string): number[] {
  const counts: number[] = [];
  for (let at = 0; at < text.length;) {
    let value = 0;
    for (let shift = 0, more = true; more; shift += BITS) {
      const piece = text.charCodeAt(at++) - ZERO;
      if (!(piece >= 0 && piece < 2 * MORE) || shift > 25) {
        throw new InputError(`run lengths: the text is damaged at letter ${at}: ${JSON.stringify(text.slice(0, 60))}`);
      }
      value |= (piece & 31) << shift;
      more = (piece & MORE) !== 0;
      if (!more && piece & 16 && shift + BITS < 32) value |= -1 << (shift + BITS);
    }
    counts.push(counts.length > 2 ? value + counts[counts.length - 2] : value);
  }
  return counts;
}
