import assert from "node:assert/strict";

import type { decodeFrames as decodeFramesFunction } from "../../../../src/input/image/decode.js";
import { plant, removeMutants } from "../../../support/mutant.js";
import { difference, pictureFile, pillowsPictures } from "./pictures.js";

/** What is changed in which file of src/image. */
const MISTAKES: readonly (readonly [name: string, file: string, find: string, replace: string])[] = [
  ["codes of TIFF widened as those of GIF", "lzw.ts", "next + early >=", "next >="],
  ["a run that repeats itself cut short", "lzw.ts", ": [previous, from - previous + 1];", ": [previous, from - previous];"],
  ["rows of a GIF left interlaced", "gif.ts", "interlaced ? deinterlaced(", "!interlaced ? deinterlaced("],
  ["the first frame taken for the screen", "gif.ts", "Math.max(screen.width, frame.left + frame.width)", "frame.left + frame.width"],
  ["black outside the first frame", "gif.ts", "blank(width, height, colourOf(frame, frame.transparent ?? 0))", "blank(width, height, BLACK)"],
  ["transparent pixels of later frames drawn", "gif.ts", "i > 0 ? frame.transparent : null", "null"],
  ["a frame that gives way to the previous one stays", "gif.ts", "if (i > 0) return { box: frame", "if (i > 99) return { box: frame"],
  ["the background index for a transparent one", "gif.ts", "?? transparent ?? file.background", "?? file.background"],
  ["a disposal that is not said not kept", "gif-blocks.ts", "(flags >> 2) & 7 || before.disposal", "(flags >> 2) & 7"],
  ["an own ramp of greys shown", "gif-blocks.ts", "first.palette ?? global", "first.palette"],
  ["bitmaps upside down", "bmp.ts", "3 * (topDown ? y : height - 1 - y) * width; x < width; x++, from += size", "3 * y * width; x < width; x++, from += size"],
  ["rows not filled to 4 bytes", "bmp.ts", "Math.floor((width * bits + 31) / 32) * 4", "Math.ceil((width * bits) / 8)"],
  ["5 bits scaled by shifting", "bmp.ts", "Math.floor((((value >>> shift) & most) * 255) / most)", "((value >>> shift) & most) * (256 / (most + 1))"],
  ["absolute runs not aligned to words", "bmp-rle.ts", "at += size + ((at + size) % 2)", "at += size"],
  ["wide grey scaled and not clipped", "pnm.ts", "bands === 1 && most > 255 ? 65_535 : 255", "255"],
  ["floats from above", "pnm.ts", "grey[(height - 1 - y) * width + x]", "grey[y * width + x]"],
  ["YCbCr shown as RGB", "tiff.ts", "layout.photometric === YCBCR && layout.samples === 3", "layout.photometric === 4711"],
  ["one chroma sample for each column", "tiff-ycbcr.ts", "Math.floor(x / across)) * unit", "Math.min(x, unitsAcross - 1)) * unit"],
  ["coefficients of the file ignored", "tiff-layout.ts", "page.numbers(529) ??", "undefined ??"],
  ["reference levels of the file ignored", "tiff-layout.ts", "page.numbers(532) ??", "undefined ??"],
  ["colours left multiplied with alpha", "tiff.ts", "extra[0] === 1 ||", "extra[0] === 4711 ||"],
  ["planes taken for pixels", "tiff-layout.ts", "planar: planar && samples > 1", "planar: false"],
  ["planes that mean nothing read", "tiff-layout.ts", "planar && beside.every((kind) => kind === 0) ? beside.length : 0", "0"],
  ["what fills the last row of a bitmap missed", "bmp.ts", "(height - 1) * rowBytesOf(width, bits) + Math.ceil((width * bits) / 8)", "height * rowBytesOf(width, bits)"],
  ["bits of a byte not turned round", "tiff-layout.ts", "number(266, 1) === 2", "false"],
  ["differences not added up", "tiff-samples.ts", "predictor === 1 ||", "predictor <= 2 ||"],
  ["samples of 12 bits mixed up", "tiff-samples.ts", "(first << 4) | (second >> 4)", "(second << 4) | (first >> 4)"],
  ["chroma of libyuv replaced by grey", "avif-codec.ts", "rgb[to + c] = depth > 8", "rgb[to] = rgb[to + 1] = rgb[to + 2] = depth > 8"],
  ["mirrors of an AVIF on the other axis", "avif.ts", "[2, 7, 4, 5] : [4, 5, 2, 7]", "[4, 5, 2, 7] : [2, 7, 4, 5]"],
  ["EXIF of an AVIF believed", "avif.ts", "exifOrientation(exifOf(heif)) !== undefined) return stated", "exifOrientation(exifOf(heif)) !== undefined) return exifOrientation(exifOf(heif))!"],
  ["pixel information not added", "avif-repair.ts", "lacking.length === 0 ||", "lacking.length >= 0 ||"],
  ["orientation 6 for 8", "orientation.ts", "6: { swapped: true, fromRight: false, fromBelow: true }", "6: { swapped: true, fromRight: true, fromBelow: false }"],
  ["XMP never asked", "orientation.ts", "exifOrientation(exif) ?? xmpOrientation(xmp) ?? 1", "exifOrientation(exif) ?? 1"],
  ["XMP before EXIF", "orientation.ts", "exifOrientation(exif) ?? xmpOrientation(xmp) ?? 1", "xmpOrientation(xmp) ?? exifOrientation(exif) ?? 1"],
  ["only attributes of XMP seen", "orientation.ts", '(?:="|>)', '(?:=")'],
  ["frames of a PNG not laid over each other", "apng.ts", "over && !opaque ?", "!over ?"],
  ["a background of a PNG not cleared", "apng.ts", "dispose === BACKGROUND) fill", "dispose === 4711) fill"],
  ["the frame before not kept", "apng.ts", "dispose === PREVIOUS && before) paint", "dispose === 4711 && before) paint"],
  ["black for the first colour of a palette", "apng.ts", "palette?.subarray(0, 3) ?? new", "palette?.subarray(9, 9) ?? new"],
  ["raw profiles not read", "png.ts", "found.exif ?? found.raw", "found.exif"],
  ["grey of 16 bits with a key scaled", "png.ts", "bytes[24] === 16 && bytes[25] === 0", "false"],
  ["the last of two fields of one tag", "tiff-directory.ts", "fields.has(tag) || size === 0", "size === 0"],
  ["a directory that is cut off not read", "tiff-directory.ts", "if (first + entry > bytes.length) {", "if (first + count * entry > bytes.length) {"],
  ["fields behind one that lies beyond the end", "tiff-directory.ts", "view.byteLength) return fields", "view.byteLength) continue"],
  ["fields behind too much not read", "tiff-directory.ts", "(total += size) > view.byteLength) continue", "(total += size) > view.byteLength) return fields"],
  ["bytes taken for an orientation", "orientation.ts", "NO_NUMBERS = [1, 2, 7]", "NO_NUMBERS = [2, 7]"],
  ["ratios with a sign not read", "tiff-directory.ts", "  10: (view, at, little) => view.getInt32(at, little) /", "  99: (view, at, little) => view.getInt32(at, little) /"],
  ["junk between segments ends them", "jpeg.ts", "if (bytes[at] !== 0xff || marker", "if (bytes[at] !== 0xff) return; else if (marker"],
  ["a restart taken for a segment", "jpeg.ts", "(marker >= 0xd0 && marker <= 0xd9) ||", ""],
  ["texts of another method unpacked", "png.ts", "rest[1] === DEFLATE ?", "rest[1] !== 4711 ?"],
  ["metadata behind a WebP's end", "webp.ts", "Math.min(bytes.length, 8 + view.getUint32(4, true))", "bytes.length"],
  ["check sums of pixels looked at", "png-chunks.ts", 'CHECKED = ["IHDR"', 'CHECKED = ["IDAT", "IHDR"'],
  ["XMP of a WebP not read", "webp.ts", '"XMP ": 0x04', '"XMP ": 0x40'],
]; // prettier-ignore

const pictures = pillowsPictures();

/** The first picture that the copy shows otherwise than Pillow, or null. */
async function firstDifference(load: ReturnType<typeof plant>): Promise<string | null> {
  const { decodeFrames } = await load<{ decodeFrames: typeof decodeFramesFunction }>("input/image/decode.ts");
  for (const { name, frames } of pictures) {
    const shown = await decodeFrames(pictureFile(name), [...frames.keys()]).catch((error: Error) => error);
    if (shown instanceof Error) return `${name}: ${shown.message.slice(-60)}`;
    const wrong = shown.map((frame, i) => difference(frame, frames[i]!)).find((found) => found !== null);
    if (wrong !== undefined) return `${name}: ${wrong}`;
  }
  return null;
}

describe("a mistake planted in a decoder is caught", () => {
  after(removeMutants);

  it("and the source without one passes the same comparison", async () => {
    const same = "const MAX_CODES = 4096;";
    assert.equal(
      await firstDifference(plant({ file: "src/input/image/lzw.ts", find: same, replace: same }, "pictures")),
      null,
    );
  });

  MISTAKES.forEach(([name, file, find, replace], i) => {
    it(name, async () => {
      const found = await firstDifference(plant({ file: `src/input/image/${file}`, find, replace }, `pictures-${i}`));
      assert.notEqual(found, null, "nothing notices it");
    });
  });
});
