import { latin1 } from "./latin1.js";
import { decodeAv1 } from "./avif-codec.js";
import { withPixelInformation } from "./avif-repair.js";
import type { Decoder } from "./decoder.js";
import { boxesOf, boxIn, type Box, readHeif, type Heif } from "./heif-boxes.js";
import { inRoom } from "./in-room.js";
import { exifOrientation, type Orientation, xmpOrientation } from "./orientation.js";
import { UnsupportedPicture } from "./unsupported.js";

/**
 * AVIF by libavif and libyuv, compiled to WebAssembly: the same code as in Pillow's wheels, so that chroma is
 * interpolated as there. The libheif of sharp repeats it, and is up to 184 grey levels off at edges.
 */
export const avif: Decoder = {
  frames: async (bytes) => framesOf(bytes),
  orientation: (bytes) => orientationOfAvif(bytes),
  decode: async (bytes, frame) => {
    if (frame > 0) {
      const advice = "convert it to GIF or WebP, or give its frames as files";
      throw new UnsupportedPicture(`of an AVIF sequence only the first frame is read; ${advice}`);
    }
    const sizes = sizesOf(bytes);
    const [first] = sizes;
    if (!first) return decodeAv1(withPixelInformation(bytes), 0);
    const pixels = ({ width, height }: { width: number; height: number }): number => width * height;
    const largest = sizes.reduce((most, size) => (pixels(size) > pixels(most) ? size : most), first);
    // Planes and RGBA lie in the memory of WebAssembly, beside the RGB.
    return inRoom(largest, () => decodeAv1(withPixelInformation(bytes), pixels(largest)), 3);
  },
};

/** Sizes that the file claims for its pictures and tracks, before anything is decoded. */
function sizesOf(bytes: Uint8Array): { width: number; height: number }[] {
  const { primary } = readHeif(bytes);
  const sizes = [boxIn(primary?.properties ?? [], "ispe")]
    .filter((box) => box !== undefined)
    .map((box) => sizeAt(box, 4, 4));
  const entries = tracksOf(bytes).flatMap(({ entry }) => (entry === undefined ? [] : [sizeAt(entry, 24, 2)]));
  return [...sizes, ...entries];
}

function sizeAt(bytes: Uint8Array, at: number, size: 2 | 4): { width: number; height: number } {
  const view = Buffer.from(bytes);
  return { width: view.readUIntBE(at, size), height: view.readUIntBE(at + size, size) };
}

/** The tracks of pictures: how many samples each has, and the entry that describes them. */
function tracksOf(bytes: Uint8Array): { samples: number; entry: Uint8Array | undefined }[] {
  const movie = boxIn(boxesOf(bytes), "moov");
  const tracks = boxesOf(movie ?? new Uint8Array(0)).filter(({ kind }) => kind === "trak");
  return tracks.flatMap(({ body }) => {
    const media = within(boxesOf(body), "mdia");
    const handler = boxIn(media, "hdlr");
    if (handler === undefined || latin1(handler.subarray(8, 12)) !== "pict") return [];
    const table = within(within(media, "minf"), "stbl");
    const sizes = boxIn(table, "stsz");
    const entry = boxesOf((boxIn(table, "stsd") ?? new Uint8Array(0)).subarray(8))[0]?.body;
    return [{ samples: sizes === undefined ? 1 : Buffer.from(sizes).readUInt32BE(8), entry }];
  });
}

const within = (boxes: readonly Box[], kind: string): Box[] => boxesOf(boxIn(boxes, kind) ?? new Uint8Array(0));

const isSequence = (bytes: Uint8Array): boolean => latin1(bytes.subarray(8, 12)) === "avis";

const framesOf = (bytes: Uint8Array): number => (isSequence(bytes) ? Math.max(1, tracksOf(bytes)[0]?.samples ?? 1) : 1);

/**
 * What the file says of rotation and mirroring rules; EXIF data are believed only where they repeat it, and XMP where
 * there are no EXIF data with an orientation. Source: Pillow 13, src/PIL/AvifImagePlugin.py.
 */
function orientationOfAvif(bytes: Uint8Array): Orientation {
  const heif = readHeif(bytes);
  const stated = orientationOfProperties(isSequence(bytes) ? trackProperties(bytes) : (heif.primary?.properties ?? []));
  if (stated !== 1 || exifOrientation(exifOf(heif)) !== undefined) return stated;
  const xmp = heif.items.find(({ type, contentType }) => type === "mime" && contentType === "application/rdf+xml");
  return xmpOrientation(xmp && heif.dataOf(xmp)) ?? 1;
}

// The fixed fields of a visual sample entry take 78 bytes. Source: ISO/IEC 14496-12, 12.1.3.
const trackProperties = (bytes: Uint8Array): Box[] =>
  boxesOf(tracksOf(bytes)[0]?.entry?.subarray(78) ?? new Uint8Array(0));

// The item begins with how far behind its TIFF header lies. Source: ISO/IEC 23008-12, annex A.
function exifOf(heif: Heif): Uint8Array | undefined {
  const item = heif.items.find(({ type }) => type === "Exif");
  const data = item && heif.dataOf(item);
  return data && data.length > 4 ? data.subarray(4 + Buffer.from(data).readUInt32BE(0)) : undefined;
}

/** Source: Pillow 13, src/_avif.c, `irot_imir_to_exif_orientation`. */
function orientationOfProperties(properties: readonly Box[]): Orientation {
  const [rotation, mirror] = [boxIn(properties, "irot"), boxIn(properties, "imir")];
  const angle = rotation === undefined ? 0 : rotation[0]! & 3;
  if (mirror === undefined) return [1, 8, 3, 6][angle]!;
  return (mirror[0]! & 1 ? [2, 7, 4, 5] : [4, 5, 2, 7])[angle]!;
}
