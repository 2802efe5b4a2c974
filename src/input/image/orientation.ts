import { latin1 } from "./latin1.js";
import type { RawImage } from "./raw-image.js";
import { type Directory, readTiff } from "./tiff-directory.js";

/** How a picture is to be turned, as EXIF counts it: 1 is upright, anything that is not 2 to 8 counts as 1. */
export type Orientation = number;

/** What a file says of itself beside its pixels. */
export type Metadata = {
  /** A TIFF structure, with or without `Exif\0\0` before it. */
  exif?: Uint8Array | undefined;
  /** An XMP packet. */
  xmp?: Uint8Array | undefined;
};

/** Tag of the orientation. Source: EXIF 2.32, 4.6.4. */
const ORIENTATION_TAG = 0x0112;

/**
 * The orientation of EXIF data, or of the XMP packet where those have none, as Pillow's `getexif` looks for it.
 * Source: Pillow 13, src/PIL/Image.py, `getexif`.
 */
export function orientationOf({ exif, xmp }: Metadata): Orientation {
  return exifOrientation(exif) ?? xmpOrientation(xmp) ?? 1;
}

/** Types of TIFF that Pillow reads as bytes or text, which turn nothing: BYTE, ASCII, UNDEFINED. */
const NO_NUMBERS = [1, 2, 7];

/** The orientation in EXIF data; undefined where they hold none or are no EXIF data, 1 where it is no number. */
export function exifOrientation(exif: Uint8Array | undefined): Orientation | undefined {
  if (exif === undefined) return undefined;
  let body = exif;
  while (startsWith(body, "Exif\0\0")) body = body.subarray(6);
  try {
    return directoryOrientation(readTiff(body, 1).directories[0]!);
  } catch {
    return undefined;
  }
}

/** The orientation in a directory of TIFF; undefined where it holds none, 1 where it is no number. */
export function directoryOrientation(directory: Directory): Orientation | undefined {
  const kind = directory.typeOf(ORIENTATION_TAG);
  if (kind === undefined) return undefined;
  return NO_NUMBERS.includes(kind) ? 1 : directory.numbers(ORIENTATION_TAG)![0]!;
}

/** The orientation in an XMP packet, read by Pillow's own pattern. */
export function xmpOrientation(xmp: Uint8Array | undefined): Orientation | undefined {
  if (xmp === undefined) return undefined;
  const match = /tiff:Orientation(?:="|>)([0-9])/.exec(latin1(xmp));
  return match ? Number(match[1]) : undefined;
}

const startsWith = (bytes: Uint8Array, text: string): boolean =>
  bytes.length >= text.length && [...text].every((letter, i) => bytes[i] === letter.charCodeAt(0));

/**
 * For each orientation, whether rows and columns change places, and whether the stored picture is then read from its
 * right and from its lower end. Source: Pillow, src/PIL/ImageOps.py, `exif_transpose`.
 */
const TURNS: Readonly<Record<Orientation, { swapped: boolean; fromRight: boolean; fromBelow: boolean }>> = {
  2: { swapped: false, fromRight: true, fromBelow: false },
  3: { swapped: false, fromRight: true, fromBelow: true },
  4: { swapped: false, fromRight: false, fromBelow: true },
  5: { swapped: true, fromRight: false, fromBelow: false },
  6: { swapped: true, fromRight: false, fromBelow: true },
  7: { swapped: true, fromRight: true, fromBelow: true },
  8: { swapped: true, fromRight: true, fromBelow: false },
};

/** A stored picture as it is seen; the given one where nothing turns. */
export function upright(image: RawImage, orientation: Orientation): RawImage {
  const turn = TURNS[orientation];
  if (!turn) return image;
  const { data, width, height } = image;
  const [columns, rows] = turn.swapped ? [height, width] : [width, height];
  const [across, down] = [turn.fromRight ? -3 : 3, (turn.fromBelow ? -3 : 3) * width];
  const start = (turn.fromRight ? 3 * (width - 1) : 0) + (turn.fromBelow ? 3 * width * (height - 1) : 0);
  const [nextColumn, nextRow] = turn.swapped ? [down, across] : [across, down];
  const turned = new Uint8Array(data.length);
  for (let row = 0, to = 0; row < rows; row++) {
    for (let column = 0, from = start + row * nextRow; column < columns; column++, from += nextColumn, to += 3) {
      turned[to] = data[from]!;
      turned[to + 1] = data[from + 1]!;
      turned[to + 2] = data[from + 2]!;
    }
  }
  return { data: turned, width: columns, height: rows };
}
