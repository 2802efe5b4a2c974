import { decodeRle } from "./bmp-rle.js";
import type { Decoder } from "./decoder.js";
import { inRoom } from "./in-room.js";
import type { RawImage } from "./raw-image.js";
import { UnsupportedPicture } from "./unsupported.js";

/** Windows and OS/2 bitmaps. Source: Pillow 13, src/PIL/BmpImagePlugin.py. */
export const bmp: Decoder = {
  frames: async () => 1,
  orientation: () => 1,
  decode: async (file) => {
    const bytes = withFileHeader(file);
    const header = headerOf(bytes);
    return inRoom(header, () => pixelsOf(bytes, header));
  },
};

function pixelsOf(bytes: Uint8Array, header: Header): RawImage {
  const { bits, compression, pixelsAt } = header;
  if (compression === RLE8 || compression === RLE4) {
    return fromIndices(decodeRle(bytes, pixelsAt, header, compression === RLE4), header);
  }
  return bits <= 8 ? fromIndices(unpackedIndices(bytes, header), header) : fromColours(bytes, header);
}

// What a clipboard holds lacks the 14 bytes of the file; without a place of the pixels they lie behind the palette.
function withFileHeader(bytes: Uint8Array): Uint8Array {
  if (bytes[0] === 0x42) return bytes;
  const whole = new Uint8Array(bytes.length + 14);
  whole.set(bytes, 14);
  return whole;
}

const [RGB, RLE8, RLE4, BITFIELDS] = [0, 1, 2, 3];

/** What stands before the pixels. */
type Header = {
  width: number;
  height: number;
  topDown: boolean;
  bits: number;
  compression: number;
  pixelsAt: number;
  /** RGB of each index, for up to 8 bits. */
  palette: Uint8Array;
  /** Masks of red, green, blue and alpha, where they are given. */
  masks: readonly number[] | null;
};

const SIZES = [12, 40, 52, 56, 64, 108, 124];

function headerOf(bytes: Uint8Array): Header {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 26) throw new Error("its header is cut off");
  const size = view.getUint32(14, true);
  if (!SIZES.includes(size)) throw unsupported(`a header of ${size} bytes`);
  if (bytes.length < 14 + size) throw new Error("its header is cut off");
  const core = size === 12;
  const topDown = !core && bytes[25] === 0xff;
  const height = core ? view.getUint16(20, true) : view.getUint32(22, true);
  const bits = view.getUint16(core ? 24 : 28, true);
  const compression = core ? RGB : view.getUint32(30, true);
  if (![1, 4, 8, 16, 24, 32].includes(bits)) throw unsupported(`${bits} bits a pixel`);
  if (compression > BITFIELDS) throw unsupported(`compression ${{ 4: "JPEG", 5: "PNG" }[compression] ?? compression}`);
  if ((compression === RLE8 || compression === RLE4) && bits > 8) throw unsupported(`run lengths of ${bits} bits`);
  if (compression === BITFIELDS && bits < 16) throw unsupported(`masks for ${bits} bits`);
  const masks = compression === BITFIELDS ? masksOf(view, size) : null;
  const paletteAt = 14 + size + (masks && size === 40 ? 12 : 0);
  const entry = core ? 3 : 4;
  const colours = (core ? 0 : view.getUint32(46, true)) || 2 ** bits;
  if (bits <= 8 && colours > 65_536) throw unsupported(`a palette of ${colours} colours`);
  const stated = view.getUint32(10, true);
  const beside = stated === 14 + size || stated === 0 ? paletteAt + (bits <= 8 ? entry * colours : 0) : stated;
  const palette = bits <= 8 ? paletteOf(bytes.subarray(paletteAt, paletteAt + entry * colours), entry, colours) : EMPTY;
  return {
    ...{
      width: core ? view.getUint16(18, true) : view.getUint32(18, true),
      height: topDown ? 2 ** 32 - height : height,
    },
    ...{ topDown, bits, compression, pixelsAt: beside, palette, masks },
  };
}

const EMPTY = new Uint8Array(0);

const unsupported = (kind: string): UnsupportedPicture =>
  new UnsupportedPicture(`a BMP with ${kind} is not read; convert it to a 24-bit BMP or a PNG`);

// Only the headers of 56 bytes and more say where alpha is; behind one of 40 three masks follow.
function masksOf(view: DataView, size: number): number[] {
  if (view.byteLength < 66) throw new Error("its masks are cut off");
  const masks = [54, 58, 62].map((at) => view.getUint32(at, true));
  return [...masks, size >= 56 ? view.getUint32(66, true) : 0];
}

/** Palettes that are ramps of greys show as grey whatever index lies beyond them; others show black there. */
function paletteOf(stored: Uint8Array, entry: number, colours: number): Uint8Array {
  const palette = new Uint8Array(256 * 3);
  const grey = (i: number): number => (colours === 2 ? 255 * i : i);
  let ramp = true;
  for (let i = 0; i < colours; i++) {
    const [blue, green, red] = stored.subarray(i * entry, i * entry + 3);
    ramp &&= i < 256 && blue === grey(i) && green === grey(i) && red === grey(i);
    if (i < 256) palette.set([red ?? 0, green ?? 0, blue ?? 0], 3 * i);
  }
  if (ramp) for (let i = colours === 2 ? 2 : 0; i < 256; i++) palette.fill(i, 3 * i, 3 * i + 3);
  return palette;
}

/** Indices in the order of the file, row by row. */
function unpackedIndices(bytes: Uint8Array, header: Header): Uint8Array {
  const { width, height, bits, pixelsAt } = header;
  const rowBytes = rowBytesOf(width, bits);
  requireRows(bytes, header);
  const indices = new Uint8Array(width * height);
  const perByte = 8 / bits;
  for (let y = 0, to = 0; y < height; y++) {
    const row = pixelsAt + y * rowBytes;
    for (let x = 0; x < width; x++) {
      const shift = 8 - bits * ((x % perByte) + 1);
      indices[to++] = (bytes[row + Math.floor(x / perByte)]! >> shift) & ((1 << bits) - 1);
    }
  }
  return indices;
}

const rowBytesOf = (width: number, bits: number): number => Math.floor((width * bits + 31) / 32) * 4;

// What fills the last row may be missing.
function requireRows(bytes: Uint8Array, { pixelsAt, width, height, bits }: Header): void {
  const wanted = (height - 1) * rowBytesOf(width, bits) + Math.ceil((width * bits) / 8);
  const found = Math.max(bytes.length - pixelsAt, 0);
  if (found < wanted) throw new Error(`it has ${found} of ${wanted} bytes of pixels`);
}

function fromIndices(indices: Uint8Array, { width, height, topDown, palette }: Header): RawImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0, to = 3 * (topDown ? y : height - 1 - y) * width; x < width; x++, from++, to += 3) {
      for (let c = 0; c < 3; c++) data[to + c] = palette[3 * indices[from]! + c]!;
    }
  }
  return { data, width, height };
}

/**
 * A byte of a colour: bytes are taken as they are, 5 and 6 bits are scaled. Source: Pillow, src/libImaging/Unpack.c.
 */
type Channel = { shift: number; most: number };

/** Layouts of masks that Pillow knows. */
const LAYOUTS: Readonly<Record<number, readonly string[]>> = {
  16: ["f800,7e0,1f", "7c00,3e0,1f"],
  24: ["ff0000,ff00,ff"],
  32: ["ff0000,ff00,ff", "ff000000,ff0000,ff00", "ff000000,ff00,ff", "ff,ff00,ff0000", "0,0,0"],
};

function channelsOf({ bits, masks }: Header): Channel[] {
  const given = masks?.slice(0, 3) ?? (bits === 16 ? [0x7c00, 0x3e0, 0x1f] : [0xff0000, 0xff00, 0xff]);
  const hex = given.map((mask) => mask.toString(16)).join(",");
  if (!LAYOUTS[bits]!.includes(hex)) throw unsupported(`the masks ${hex} of ${bits} bits`);
  const known = hex === "0,0,0" ? [0xff0000, 0xff00, 0xff] : given;
  return known.map((mask) => {
    const shift = 31 - Math.clz32(mask & -mask);
    return { shift, most: mask >>> shift };
  });
}

function fromColours(bytes: Uint8Array, header: Header): RawImage {
  const { width, height, topDown, bits, pixelsAt } = header;
  const [size, rowBytes] = [bits / 8, rowBytesOf(width, bits)];
  const channels = channelsOf(header);
  requireRows(bytes, header);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    let from = pixelsAt + y * rowBytes;
    for (let x = 0, to = 3 * (topDown ? y : height - 1 - y) * width; x < width; x++, from += size) {
      let value = 0;
      for (let b = 0; b < size; b++) value |= bytes[from + b]! << (8 * b);
      for (const { shift, most } of channels) data[to++] = Math.floor((((value >>> shift) & most) * 255) / most);
    }
  }
  return { data, width, height };
}
