import { latin1 } from "./latin1.js";
import { boxesOf, readHeif } from "./heif-boxes.js";
import { UnsupportedPicture } from "./unsupported.js";

/** Formats that are read. */
export type PictureFormat = "JPEG" | "PNG" | "WebP" | "TIFF" | "GIF" | "AVIF" | "BMP" | "PNM";

/** The formats that are read, for messages. */
export const FORMATS = "JPEG, PNG, WebP, TIFF, GIF, AVIF, BMP and PNM (PPM, PGM, PBM)";

/** Something that files begin with: Latin-1 text at an offset. */
type Sign = readonly [begins: string, at?: number];

/** How the files that are read begin. */
const READ: readonly (readonly [PictureFormat, ...Sign])[] = [
  ["JPEG", "\xff\xd8\xff"],
  ["PNG", "\x89PNG\r\n\x1a\n"],
  ["WebP", "WEBP", 8],
  ["TIFF", "II*\0"],
  ["TIFF", "MM\0*"],
  ["TIFF", "II\0*"],
  ["TIFF", "MM*\0"],
  ["TIFF", "II+\0"],
  ["TIFF", "MM\0+"],
  ["GIF", "GIF87a"],
  ["GIF", "GIF89a"],
];

const CONVERT = "convert it to PNG or JPEG";
const FRAMES = "take frames out of it as PNG or JPEG files, as ffmpeg does";
const UNPACK = "take the picture out of it";
const TO_RGB = "give the pixels as RGB: { data, width, height }";

/** How files begin that are often taken for pictures, or are pictures that are not read; what they are; what to do. */
const REFUSED: readonly (readonly [what: string, advice: string, ...Sign])[] = [
  ["a JPEG XL picture", CONVERT, "\xff\x0a"],
  ["a JPEG XL picture", CONVERT, "JXL \r\n\x87\n", 4],
  ["a JPEG 2000 picture", CONVERT, "jP  \r\n\x87\n", 4],
  ["a JPEG 2000 picture", CONVERT, "\xff\x4f\xff\x51"],
  ["a JPEG XR picture", CONVERT, "II\xbc\x01"],
  ["a Photoshop document (PSD)", CONVERT, "8BPS"],
  ["a PDF document", "convert the page that is meant to PNG", "%PDF-"],
  ["a PostScript document", "convert the page that is meant to PNG", "%!PS"],
  ["an Apple icon (ICNS)", CONVERT, "icns"],
  ["an OpenEXR picture", CONVERT, "\x76\x2f\x31\x01"],
  ["a Radiance HDR picture", CONVERT, "#?R"],
  ["a QOI picture", CONVERT, "qoif"],
  ["a DirectDraw surface (DDS)", CONVERT, "DDS "],
  ["a farbfeld picture", CONVERT, "farbfeld"],
  ["a PAM picture (P7)", "convert it to PPM or PNG", "P7\n"],
  ["a colour PFM picture", CONVERT, "PF\n"],
  ["an OS/2 bitmap array", CONVERT, "BA"],
  ["a Windows metafile", CONVERT, "\xd7\xcd\xc6\x9a"],
  ["a GIMP picture (XCF)", CONVERT, "gimp xcf"],
  ["a MNG animation", FRAMES, "\x8aMNG"],
  ["a JNG picture", CONVERT, "\x8bJNG"],
  ["a DjVu document", "convert the page that is meant to PNG", "AT&TFORM"],
  ["a camera raw file (Fujifilm RAF)", CONVERT, "FUJIFILMCCD-RAW"],
  ["a camera raw file (Olympus ORF)", CONVERT, "IIR"],
  ["a camera raw file (Panasonic RW2)", CONVERT, "IIU\0"],
  ["a video (AVI)", FRAMES, "AVI ", 8],
  ["a video (Matroska or WebM)", FRAMES, "\x1a\x45\xdf\xa3"],
  ["a video (Flash)", FRAMES, "FLV"],
  ["a video (MPEG)", FRAMES, "\0\0\x01\xba"],
  ["a video (MPEG)", FRAMES, "\0\0\x01\xb3"],
  ["a video (Windows Media)", FRAMES, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"],
  ["a video or sound (Ogg)", FRAMES, "OggS"],
  ["a video (QuickTime)", FRAMES, "moov", 4],
  ["a video (QuickTime)", FRAMES, "mdat", 4],
  ["a video (QuickTime)", FRAMES, "wide", 4],
  ["a sound (WAV)", "give a picture", "WAVE", 8],
  ["a sound (MP3)", "give a picture", "ID3"],
  ["a sound (FLAC)", "give a picture", "fLaC"],
  ["a ZIP archive (or an office document)", UNPACK, "PK\x03\x04"],
  ["a gzip archive", UNPACK, "\x1f\x8b"],
  ["a 7z archive", UNPACK, "7z\xbc\xaf"],
  ["a RAR archive", UNPACK, "Rar!"],
  ["an xz archive", UNPACK, "\xfd7zXZ"],
  ["a Zstandard archive", UNPACK, "\x28\xb5\x2f\xfd"],
  ["a bzip2 archive", UNPACK, "BZh"],
  ["a tar archive", UNPACK, "ustar", 257],
  ["a FITS picture", CONVERT, "SIMPLE  ="],
  ["a Sun raster picture", CONVERT, "\x59\xa6\x6a\x95"],
  ["an SGI picture", CONVERT, "\x01\xda"],
  ["a PCX picture", CONVERT, "\x0a\x05\x01"],
  ["a NumPy array", TO_RGB, "\x93NUMPY"],
  ["an HDF5 file", TO_RGB, "\x89HDF"],
  ["a Git LFS pointer and not the picture itself", "fetch it with git lfs pull", "version https://git-lfs"],
];

/**
 * The format of a file by its first bytes. Throws `UnsupportedPicture` that says what the file is otherwise, and what
 * to do.
 */
export function formatOf(bytes: Uint8Array): PictureFormat {
  const begins = ([text, at = 0]: Sign): boolean => latin1(bytes.subarray(at, at + text.length)) === text;
  const known = READ.find(([, ...sign]) => begins(sign));
  if (known?.[0] === "TIFF" && begins(["CR\x02", 8])) throw notRead("a camera raw file (Canon CR2)", CONVERT);
  if (known) return known[0];
  if (begins(["ftyp", 4])) return isoFormat(bytes);
  const refused = REFUSED.find(([, , ...sign]) => begins(sign));
  if (refused) throw notRead(refused[0], refused[1]);
  if (/^P[1-6f](?:[\s#])/.test(latin1(bytes.subarray(0, 3)))) return "PNM";
  if (isBitmap(bytes)) return "BMP";
  throw iconOrTarga(bytes) ?? textKind(bytes) ?? otherBytes(bytes);
}

const notRead = (what: string, advice: string): UnsupportedPicture =>
  new UnsupportedPicture(`this is ${what}, which is not read as a picture; ${advice}. Read are ${FORMATS}`);

/** A Windows bitmap: by its letters and a header of a size that can be, or, as from a clipboard, the header alone. */
function isBitmap(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 18));
  if (head.length < 18) return false;
  if (head.toString("latin1", 0, 2) === "BM") return head.readUInt32LE(14) < 256;
  return [40, 108, 124].includes(head.readUInt32LE(0)) && head.readUInt16LE(12) === 1 && head.readUInt16LE(14) <= 32;
}

/** Formats without a sign of their own: icons and cursors have a count where Targa pictures have zeros. */
function iconOrTarga(bytes: Uint8Array): UnsupportedPicture | undefined {
  const targa = "a Targa picture (TGA)";
  if (latin1(bytes.subarray(-18, -2)) === "TRUEVISION-XFILE") return notRead(targa, CONVERT);
  if (bytes[0] !== 0 || bytes.length < 18) return undefined;
  const [, second, third, fourth, count] = bytes;
  const small = second === 0 && fourth === 0 && count! > 0 && bytes[5] === 0;
  if (small && third === 1) return notRead("a Windows icon (ICO)", CONVERT);
  if (small && third === 2) return notRead("a Windows cursor (CUR)", CONVERT);
  const known = second! <= 1 && [1, 2, 3, 9, 10, 11].includes(third!) && [8, 15, 16, 24, 32].includes(bytes[16]!);
  return known ? notRead(targa, CONVERT) : undefined;
}

const HEIC = /^(?:hei[cxms]|hev[cxms])$/;

/** What the coded items of HEIF files are. */
const ITEM_TYPES: Readonly<Record<string, string>> = {
  ...{
    hvc1: "HEVC",
    hev1: "HEVC",
    avc1: "AVC",
    vvc1: "VVC",
    jpeg: "JPEG",
    j2k1: "JPEG 2000",
    unci: "uncompressed pixels",
  },
};

/** Files that begin with `ftyp`: the item that is shown decides, else the brands do. */
function isoFormat(bytes: Uint8Array): "AVIF" {
  const box = boxesOf(bytes)[0]?.body ?? bytes.subarray(8);
  const brands = latin1(box.subarray(0, 4096)).match(/[\s\S]{4}/g) ?? [];
  const types = itemTypes(bytes);
  const coded = types.find((type) => ITEM_TYPES[type] !== undefined);
  if (types.includes("av01") || (!coded && brands.some((brand) => brand === "avif" || brand === "avis"))) return "AVIF";
  const heic = coded === "hvc1" || coded === "hev1" || (!coded && brands.some((brand) => HEIC.test(brand)));
  if (heic) {
    const advice = "convert it to JPEG or PNG (on an iPhone: Settings, Camera, Formats, Most Compatible)";
    throw notRead("a HEIC picture (HEIF with HEVC inside)", advice);
  }
  if (coded) throw notRead(`a HEIF picture with ${ITEM_TYPES[coded]} inside`, CONVERT);
  if (["mif1", "msf1", "mif2", "miaf"].includes(brands[0]!)) throw notRead("a HEIF picture", CONVERT);
  if (brands[0] === "crx ") throw notRead("a camera raw file (Canon CR3)", CONVERT);
  throw notRead(`a video (${brands[0] === "qt  " ? "QuickTime" : "MP4"})`, FRAMES);
}

// A derived picture (grid, overlay) is known by what it is made of.
function itemTypes(bytes: Uint8Array): string[] {
  try {
    const { primary, items } = readHeif(bytes);
    const own = primary?.type;
    return own !== undefined && (own === "av01" || own in ITEM_TYPES) ? [own] : items.map(({ type }) => type);
  } catch {
    return [];
  }
}

const BASE64 = /^\s*(?:data:image\/|iVBORw0KGgo|\/9j\/|R0lGOD|UklGR)/;

/** Text of a known kind; undefined where the bytes are no text. */
function textKind(bytes: Uint8Array): UnsupportedPicture | undefined {
  const start = Buffer.from(bytes.subarray(0, 4096))
    .toString("utf8")
    .replace(/^\uFEFF/, "");
  if (/^\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg)/i.test(start) && /<svg/i.test(start))
    return notRead("an SVG drawing", "render it to PNG");
  if (/^\s*(?:<!doctype html|<html|<head|<body)/i.test(start)) {
    return notRead("a web page (HTML)", "give the address of the picture itself");
  }
  if (BASE64.test(start)) return notRead("a picture in base64", 'decode it first, as Buffer.from(text, "base64") does');
  if (/^\s*\/\* XPM \*\//.test(start)) return notRead("an XPM picture", CONVERT);
  if (/^\s*#define \w+ \d/.test(start)) return notRead("an XBM picture", CONVERT);
  // Control characters, and what is no UTF-8, do not stand in text.
  // eslint-disable-next-line no-control-regex
  if (start.length >= 4 && !/[\0-\x08\x0e-\x1f\ufffd]/.test(start.slice(0, 1000)))
    return notRead("a text file", "give a picture");
  return undefined;
}

const otherBytes = (bytes: Uint8Array): UnsupportedPicture =>
  new UnsupportedPicture(
    `not an image that can be read; expected ${FORMATS}, got bytes ${Buffer.from(bytes.subarray(0, 8)).toString("hex")}...`,
  );
