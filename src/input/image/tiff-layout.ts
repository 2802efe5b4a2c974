import type { Directory, Tiff } from "./tiff-directory.js";
import { UnsupportedPicture } from "./unsupported.js";

/** How the pixels of one page are laid out, as far as its tags say; nothing is checked against what can be read. */
export type TiffLayout = {
  width: number;
  height: number;
  compression: number;
  photometric: number;
  /** Bits of a sample; all samples have as many. */
  bits: number;
  samples: number;
  /** What samples beyond the colours are: 0 nothing, 1 alpha that colours are multiplied with, 2 alpha. */
  extra: number[];
  /** 1 unsigned, 2 signed, 3 floating point. */
  sampleFormat: number;
  planar: boolean;
  /** Whether the file calls its samples planes, which means nothing where there is one. */
  saysPlanar: boolean;
  /** The lowest bit of a byte comes first. */
  reversedBits: boolean;
  predictor: number;
  /** Columns and rows of a strip or tile; the last strip may be shorter, tiles are always whole. */
  chunk: { width: number; height: number; tiled: boolean };
  offsets: number[];
  byteCounts: number[];
  /** Pixels that share a chroma sample, across and down. */
  subsampling: [number, number];
  luma: number[];
  blackWhite: number[];
  colorMap: number[] | undefined;
  littleEndian: boolean;
};

/** Compressions by name. Source: libtiff 4.7, tiff.h. */
const COMPRESSIONS: Readonly<Record<number, string>> = {
  ...{
    6: "old-style JPEG",
    9: "JBIG",
    10: "JBIG",
    32766: "NeXT",
    32809: "ThunderScan",
    32908: "Pixar",
    32909: "Pixar",
  },
  ...{ 32947: "Kodak DCS", 33003: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI log", 34677: "SGI log" },
  ...{ 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 34925: "LZMA", 34933: "PNG", 34934: "JPEG XR" },
  ...{ 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL" },
};

/** Photometric interpretations by name, of those that are not read. Source: libtiff 4.7, tiff.h; DNG 1.6. */
const PHOTOMETRICS: Readonly<Record<number, string>> = {
  ...{
    4: "transparency mask",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "colour filter array (camera raw)",
  },
  ...{ 32844: "CIE log L", 32845: "CIE log L (u', v')", 34892: "linear raw (camera)", 51177: "depth map" },
};

const CONVERT = "convert it to an 8-bit RGB TIFF or a PNG";

/** The error for a TIFF whose pixels are of a kind that is not read. */
export const unsupportedTiff = (kind: string): UnsupportedPicture =>
  new UnsupportedPicture(`a TIFF with ${kind} is not read; ${CONVERT}`);

/** The name of a compression that is not read. */
export const compressionName = (compression: number): string =>
  `compression ${COMPRESSIONS[compression] ?? "of an unknown kind"} (${compression})`;

/** The name of a photometric interpretation. */
export const photometricName = (photometric: number): string =>
  `${PHOTOMETRICS[photometric] ?? "an unknown"} photometric interpretation (${photometric})`;

/**
 * Reads the layout of one page. Throws `UnsupportedPicture` where samples differ, and an `Error` where tags are missing
 * or cannot be.
 */
export function layoutOf(page: Directory, { littleEndian }: Tiff): TiffLayout {
  const number = (tag: number, absent: number): number => page.numbers(tag)?.[0] ?? absent;
  const [width, height] = [number(256, 0), number(257, 0)];
  if (!Number.isInteger(width) || !Number.isInteger(height)) throw new Error("its size is no whole number");
  const compression = number(259, 1);
  const photometric = compression === 6 ? 6 : number(262, 0);
  const planar = number(284, 1) === 2;
  const beside = page.numbers(338) ?? [];
  // Planes behind the colours that mean nothing are left unread, as by Pillow.
  const unread = planar && beside.every((kind) => kind === 0) ? beside.length : 0;
  const samples = number(277, compression === 6 ? 3 : 1) - unread;
  return {
    width,
    height,
    compression,
    photometric,
    bits: same("bits per sample", page.numbers(258) ?? [1], samples),
    samples,
    extra: unread > 0 ? [] : beside,
    sampleFormat: same("sample formats", page.numbers(339) ?? [1], samples),
    planar: planar && samples > 1,
    saysPlanar: planar,
    reversedBits: number(266, 1) === 2,
    predictor: number(317, 1),
    ...chunksOf(page, width, height),
    subsampling: [page.numbers(530)?.[0] ?? 2, page.numbers(530)?.[1] ?? 2],
    luma: page.numbers(529) ?? [0.299, 0.587, 0.114],
    blackWhite: page.numbers(532) ?? [0, 255, 128, 255, 128, 255],
    colorMap: page.numbers(320),
    littleEndian,
  };
}

function same(what: string, values: readonly number[], samples: number): number {
  const own = values.slice(0, samples);
  if (own.every((value) => value === own[0])) return own[0] ?? 1;
  throw unsupportedTiff(`${what} that differ (${own.slice(0, 8).join(", ")})`);
}

function chunksOf(
  page: Directory,
  width: number,
  height: number,
): Pick<TiffLayout, "chunk" | "offsets" | "byteCounts"> {
  const tiled = page.numbers(322) !== undefined && page.numbers(324) !== undefined;
  const offsets = page.numbers(tiled ? 324 : 273);
  if (!offsets) throw new Error("it says nowhere where its pixels lie");
  const byteCounts = page.numbers(tiled ? 325 : 279) ?? [];
  const rows = Math.min(page.numbers(278)?.[0] ?? height, height) || height;
  const chunk = tiled
    ? { width: page.numbers(322)![0]!, height: page.numbers(323)?.[0] ?? 0, tiled }
    : { width, height: rows, tiled };
  if (!(chunk.width > 0 && chunk.height > 0)) throw new Error("its tiles have no size");
  return { chunk, offsets, byteCounts };
}
