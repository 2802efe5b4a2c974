import { isUnpackable } from "./tiff-chunks.js";
import { compressionName, photometricName, type TiffLayout, unsupportedTiff } from "./tiff-layout.js";

/** Photometric interpretations that are read. Source: TIFF 6.0. */
export const [WHITE_ZERO, BLACK_ZERO, RGB, PALETTE, CMYK, YCBCR] = [0, 1, 2, 3, 5, 6] as const;

/** Compressions that libtiff undoes for us, in the pipeline of sharp: CCITT thrice, JPEG. */
export const LEFT_TO_LIBTIFF: readonly number[] = [2, 3, 4, 7];

/** More samples a pixel are not read. Source: Pillow 13, TiffImagePlugin.py, `MAX_SAMPLESPERPIXEL`. */
const MAX_SAMPLES = 6;

/** Samples of the colour itself. */
const COLOURS: Readonly<Record<number, number>> = {
  ...{ [WHITE_ZERO]: 1, [BLACK_ZERO]: 1, [RGB]: 3, [PALETTE]: 1, [CMYK]: 4, [YCBCR]: 3 },
};

const [UNSIGNED, SIGNED, FLOAT] = [1, 2, 3];

/** Bits of a sample, by what it shows and how it is counted. Source: Pillow 13, TiffImagePlugin.py, `OPEN_INFO`. */
const DEPTHS: Readonly<Record<number, Readonly<Record<number, readonly number[]>>>> = {
  [WHITE_ZERO]: { [UNSIGNED]: [1, 2, 4, 8, 16], [FLOAT]: [32] },
  [BLACK_ZERO]: { [UNSIGNED]: [1, 2, 4, 8, 12, 16, 32], [SIGNED]: [8, 16, 32], [FLOAT]: [32] },
  [RGB]: { [UNSIGNED]: [8, 16] },
  [PALETTE]: { [UNSIGNED]: [1, 2, 4, 8] },
  [CMYK]: { [UNSIGNED]: [8, 16] },
  [YCBCR]: { [UNSIGNED]: [8] },
};

/** Throws `UnsupportedPicture` for a page of a kind that is not read: those that Pillow refuses, and a few more. */
export function requireKnownTiff({ compression, photometric, bits, samples, extra, sampleFormat }: TiffLayout): void {
  if (!isUnpackable(compression) && !LEFT_TO_LIBTIFF.includes(compression)) {
    throw unsupportedTiff(compressionName(compression));
  }
  const colours = photometric === YCBCR && samples === 1 ? 1 : COLOURS[photometric];
  if (colours === undefined) throw unsupportedTiff(photometricName(photometric));
  // The alpha of RGB may go unmentioned.
  const most = colours + Math.max(extra.length, photometric === RGB ? 1 : 0);
  if (samples < colours || samples > Math.min(most, MAX_SAMPLES)) {
    throw unsupportedTiff(`${samples} samples a pixel for ${colours} colours`);
  }
  const beside = colours === 1 && samples > 1;
  const known =
    DEPTHS[photometric]?.[sampleFormat]?.includes(bits) && (!beside || (bits === 8 && sampleFormat === UNSIGNED));
  const counted = ["", "unsigned", "signed", "floating-point"][sampleFormat] ?? "unknown";
  if (!known) throw unsupportedTiff(`${bits}-bit ${counted} samples`);
  if (beside && extra[0] === 1) throw unsupportedTiff("grey that is multiplied with its alpha");
}
