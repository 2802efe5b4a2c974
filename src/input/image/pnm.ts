import type { Decoder } from "./decoder.js";
import { inRoom } from "./in-room.js";
import { greyToRgb, type RawImage } from "./raw-image.js";

/**
 * Portable bitmaps, greymaps, pixmaps (P1 to P6) and grey floats (Pf). Source: Pillow 13, src/PIL/PpmImagePlugin.py.
 */
export const pnm: Decoder = {
  frames: async () => 1,
  orientation: () => 1,
  decode: async (bytes) => {
    const file = new PnmReader(bytes);
    const magic = file.token();
    const [width, height] = [file.whole(), file.whole()];
    return inRoom({ width, height }, () => pixelsOf(file, magic, width, height));
  },
};

function pixelsOf(file: PnmReader, magic: string, width: number, height: number): RawImage {
  switch (magic) {
    case "P1":
      return bitmap(file.digits(width * height), width, height);
    case "P4":
      return bitmap(packedBits(file.rest(), width, height), width, height);
    case "Pf":
      return floatmap(file, width, height);
    default:
      return pixelmap(file, magic, width, height);
  }
}

const SPACES = new Set([0x20, 0x09, 0x0a, 0x0b, 0x0c, 0x0d]);
const [COMMENT, NEWLINE, RETURN] = [0x23, 0x0a, 0x0d];
const MAX_TOKEN = 10;

/** Reads the words of a file, passing over white space and comments. */
class PnmReader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  /**
   * The next word, and the one white space behind it. Throws an `Error` at the end, and for a longer one than any
   * number.
   */
  token(): string {
    let word = "";
    while (this.at < this.bytes.length) {
      const byte = this.bytes[this.at++]!;
      if (byte === COMMENT) while (this.at < this.bytes.length && !isLineEnd(this.bytes[this.at++]!));
      else if (!SPACES.has(byte)) word += String.fromCharCode(byte);
      else if (word !== "") break;
      if (word.length > MAX_TOKEN) throw new Error(`a number of more than ${MAX_TOKEN} digits`);
    }
    if (word === "") throw new Error("it ends before its last number");
    return word;
  }

  /** The next word as a whole number from 0. */
  whole(): number {
    const word = this.token();
    if (/^\d+$/.test(word)) return Number(word);
    throw new Error(`"${word.replaceAll(/[^ -~]/g, "?")}" stands where a number belongs`);
  }

  /** The next word as any number. */
  number(): number {
    const value = Number(this.token());
    if (!Number.isFinite(value) || value === 0) throw new Error("its scale is no number but 0");
    return value;
  }

  /** So many digits 0 and 1, with or without space between. */
  digits(count: number): Uint8Array {
    const found = new Uint8Array(count);
    for (let i = 0; i < count;) {
      if (this.at >= this.bytes.length) throw new Error(`it has ${i} of ${count} pixels`);
      const byte = this.bytes[this.at++]!;
      if (byte === COMMENT) while (this.at < this.bytes.length && !isLineEnd(this.bytes[this.at++]!));
      else if (byte === 0x30 || byte === 0x31) found[i++] = byte - 0x30;
      else if (!SPACES.has(byte)) throw new Error("a pixel is neither 0 nor 1");
    }
    return found;
  }

  rest(): Uint8Array {
    return this.bytes.subarray(this.at);
  }
}

const isLineEnd = (byte: number): boolean => byte === NEWLINE || byte === RETURN;

const bitmap = (black: Uint8Array, width: number, height: number): RawImage =>
  greyToRgb(
    black.map((bit) => 255 * (1 - bit)),
    width,
    height,
  );

function packedBits(packed: Uint8Array, width: number, height: number): Uint8Array {
  const rowBytes = Math.ceil(width / 8);
  requireLength(packed, rowBytes * height);
  const bits = new Uint8Array(width * height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) bits[to++] = (packed[y * rowBytes + (x >> 3)]! >> (7 - (x & 7))) & 1;
  }
  return bits;
}

function requireLength(bytes: Uint8Array, length: number): void {
  if (bytes.length < length) throw new Error(`it has ${bytes.length} of ${length} bytes of pixels`);
}

function pixelmap(file: PnmReader, magic: string, width: number, height: number): RawImage {
  const most = file.whole();
  if (most < 1 || most > 65_535) throw new Error(`its largest value is ${most}, not 1 to 65535`);
  const bands = magic === "P3" || magic === "P6" ? 3 : 1;
  const count = width * height * bands;
  // Grey of more than 8 bits is Pillow's mode I: 0 to 65535, which is clipped and not scaled where it becomes RGB.
  const wide = bands === 1 && most > 255 ? 65_535 : 255;
  const plain = magic === "P2" || magic === "P3";
  const read = plain ? plainValues(file, most) : packedValues(file.rest(), most, count);
  const values = new Uint8Array(count);
  for (let i = 0; i < count; i++) values[i] = Math.min(255, halfToEven((read(i) / most) * wide));
  return bands === 1 ? greyToRgb(values, width, height) : { data: values, width, height };
}

/** Python's `round`. */
function halfToEven(value: number): number {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

function plainValues(file: PnmReader, most: number): (i: number) => number {
  return () => {
    const value = file.whole();
    if (value > most) throw new Error(`a value of ${value} exceeds the largest, ${most}`);
    return value;
  };
}

function packedValues(bytes: Uint8Array, most: number, count: number): (i: number) => number {
  const size = most < 256 ? 1 : 2;
  requireLength(bytes, count * size);
  return size === 1 ? (i) => bytes[i]! : (i) => (bytes[2 * i]! << 8) | bytes[2 * i + 1]!;
}

// Rows run from below; a negative scale means that the lowest byte comes first.
function floatmap(file: PnmReader, width: number, height: number): RawImage {
  const littleEndian = file.number() < 0;
  const bytes = file.rest();
  requireLength(bytes, 4 * width * height);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const grey = new Float32Array(width * height);
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0; x < width; x++, from += 4) grey[(height - 1 - y) * width + x] = view.getFloat32(from, littleEndian);
  }
  return greyToRgb(grey, width, height);
}
