import type { Decoder } from "./decoder.js";
import { inRoom } from "./in-room.js";
import { directoryOrientation, type Orientation, xmpOrientation } from "./orientation.js";
import { cmykToRgb, greyToRgb, type RawImage, requireDecodable } from "./raw-image.js";
import { decodeWithSharp } from "./sharp-decoder.js";
import { type Directory, readTiff } from "./tiff-directory.js";
import { CMYK, LEFT_TO_LIBTIFF, PALETTE, requireKnownTiff, RGB, WHITE_ZERO, YCBCR } from "./tiff-kinds.js";
import { layoutOf, type TiffLayout, unsupportedTiff } from "./tiff-layout.js";
import { readSamples, type Samples } from "./tiff-samples.js";
import { decodeYCbCr } from "./tiff-ycbcr.js";

/** Tag of an XMP packet. Source: XMP, part 3, 1.1.3. */
const XMP_TAG = 700;

/** TIFF and BigTIFF; the pages of a file are its frames. */
export const tiff: Decoder = {
  frames: async (bytes) => readTiff(bytes).directories.length,
  orientation: (bytes, frame) => orientationOfPage(pageOf(bytes, frame).page),
  decode: async (bytes, frame) => {
    const { layout } = pageOf(bytes, frame);
    requireDecodable(layout.width, layout.height);
    requireKnownTiff(layout);
    if (LEFT_TO_LIBTIFF.includes(layout.compression)) {
      if (layout.saysPlanar) throw unsupportedTiff("planes of fax or JPEG data");
      return decodeWithSharp(bytes, { page: frame });
    }
    const times = Math.max(1, (layout.samples * layout.bits) / 8 / 3);
    // A tile is unpacked whole, however little of it the picture shows.
    const [width, height] = (["width", "height"] as const).map((side) => Math.max(layout[side], layout.chunk[side]));
    return inRoom({ width: width!, height: height! }, () => unpacked(bytes, layout), times);
  },
};

function unpacked(bytes: Uint8Array, layout: TiffLayout): RawImage {
  if (layout.photometric === YCBCR && layout.samples === 3) return decodeYCbCr(bytes, layout);
  return toRgb(readSamples(bytes, layout), layout);
}

const orientationOfPage = (page: Directory): Orientation =>
  directoryOrientation(page) ?? xmpOrientation(page.bytes(XMP_TAG)) ?? 1;

function pageOf(bytes: Uint8Array, frame: number): { page: Directory; layout: TiffLayout } {
  const file = readTiff(bytes, frame + 1);
  const page = file.directories[frame];
  if (!page) throw new Error(`it has no page ${frame + 1}`);
  return { page, layout: layoutOf(page, file) };
}

function toRgb(samples: Samples, layout: TiffLayout): RawImage {
  const { width, height, photometric, bits } = layout;
  if (photometric === PALETTE) return paletteToRgb(samples, layout);
  if (photometric === RGB) return rgbToRgb(bits === 16 ? highBytes(samples) : samples, layout);
  if (photometric === CMYK) return cmykToRgb(bits === 16 ? highBytes(samples) : samples, layout.samples, width, height);
  return greyToRgb(greyOf(samples, layout), width, height);
}

const highBytes = (samples: Samples): Uint8Array => Uint8Array.from(samples, (value) => value >> 8);

// Only up to 8 bits are white-is-zero files turned and scaled: Pillow takes wider ones as they are.
function greyOf(samples: Samples, { samples: apart, photometric, bits }: TiffLayout): ArrayLike<number> {
  const first = apart === 1 ? samples : samples.filter((_, i) => i % apart === 0);
  if (bits > 8) return first;
  const most = (1 << bits) - 1;
  const inverted = photometric === WHITE_ZERO;
  return Uint8Array.from(first, (value) => ((inverted ? most - value : value) & most) * (255 / most));
}

function paletteToRgb(samples: Samples, { samples: apart, width, height, bits, colorMap }: TiffLayout): RawImage {
  const colours = 1 << bits;
  if (!colorMap || colorMap.length < 3 * colours) throw new Error("it has no palette, or half of one");
  const data = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < data.length; from += apart, to += 3) {
    for (let c = 0; c < 3; c++) data[to + c] = colorMap[samples[from]! + c * colours]! >> 8;
  }
  return { data, width, height };
}

// Colours that are multiplied with their alpha are divided by it. Source: Pillow, src/libImaging/Unpack.c,
// `unpackRGBa`.
function rgbToRgb(samples: ArrayLike<number>, layout: TiffLayout): RawImage {
  const { samples: apart, extra, width, height, planar, compression } = layout;
  const data = new Uint8Array(width * height * 3);
  // Of packed planes Pillow divides those as well whose fourth has no meaning given.
  const multiplied = apart > 3 && (extra[0] === 1 || (planar && compression !== 1 && extra.length === 0));
  for (let from = 0, to = 0; to < data.length; from += apart, to += 3) {
    const alpha = multiplied ? samples[from + 3]! : 255;
    for (let c = 0; c < 3; c++) {
      const value = samples[from + c]!;
      data[to + c] = alpha === 255 ? value : alpha === 0 ? 0 : Math.min(255, Math.trunc((255 * value) / alpha));
    }
  }
  return { data, width, height };
}
