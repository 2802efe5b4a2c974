/** One picture of a GIF and what is said of it. */
export type GifFrame = {
  left: number;
  top: number;
  width: number;
  height: number;
  /** RGB triples; null where neither the frame nor the file has one, or where it is the ramp of greys. */
  palette: Uint8Array | null;
  transparent: number | null;
  /** 0 unspecified, 1 stays, 2 gives way to the background, 3 gives way to what was there before. */
  disposal: number;
  interlaced: boolean;
  literalBits: number;
  /** Where its sub-blocks begin. */
  dataAt: number;
};

/** A GIF without its pixels. */
export type GifFile = {
  width: number;
  height: number;
  background: number;
  frames: GifFrame[];
  /** Whether the first frame is grey: it has no palette, or a ramp of greys. */
  greyFirst: boolean;
};

const [EXTENSION, IMAGE, TRAILER, GRAPHIC_CONTROL] = [0x21, 0x2c, 0x3b, 0xf9];

/** What is said of the next frame before it. */
type Control = Pick<GifFrame, "transparent" | "disposal">;

/**
 * Reads the blocks of a GIF, the first `limit` frames; a file that is cut off ends where it is cut. Throws an `Error`
 * where there is no frame at all. Source: GIF89a specification.
 */
export function readGif(bytes: Uint8Array, limit = Infinity): GifFile {
  if (bytes.length < 13) throw new Error("its header is cut off");
  const globalSize = paletteSize(bytes[10]!);
  const global = coloursOf(bytes.subarray(13, 13 + globalSize));
  const frames: GifFrame[] = [];
  let control: Control = { transparent: null, disposal: 0 };
  for (let at = 13 + globalSize; at < bytes.length && frames.length < limit;) {
    const kind = bytes[at++];
    if (kind === TRAILER) break;
    if (kind === EXTENSION) {
      control = controlOf(bytes, at, control);
      at = skipBlocks(bytes, at + 1);
    } else if (kind === IMAGE) {
      if (at + 10 > bytes.length) break;
      const frame = frameAt(bytes, at, control, global);
      frames.push(frame);
      control = { transparent: null, disposal: control.disposal };
      at = skipBlocks(bytes, frame.dataAt);
    }
  }
  const [first] = frames;
  if (!first) throw new Error("it holds no frame");
  // Where a first frame brings a ramp of greys into a file with colours, Pillow shows it in those.
  const shown = { ...first, palette: first.palette ?? global };
  const [width, height] = [u16(bytes, 6), u16(bytes, 8)];
  const background = globalSize > 0 ? bytes[11]! : 0;
  return { width, height, background, greyFirst: first.palette === null, frames: [shown, ...frames.slice(1)] };
}

const u16 = (bytes: Uint8Array, at: number): number => bytes[at]! | (bytes[at + 1]! << 8);

const paletteSize = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);

// A disposal that is not said stays that of the frame before, as in Pillow.
function controlOf(bytes: Uint8Array, at: number, before: Control): Control {
  if (bytes[at] !== GRAPHIC_CONTROL || bytes[at + 1]! < 4) return before;
  const flags = bytes[at + 2]!;
  const transparent = flags & 1 ? bytes[at + 5]! : before.transparent;
  return { transparent, disposal: (flags >> 2) & 7 || before.disposal };
}

function frameAt(bytes: Uint8Array, at: number, control: Control, global: Uint8Array | null): GifFrame {
  const [left, top, width, height] = [0, 2, 4, 6].map((i) => u16(bytes, at + i)) as [number, number, number, number];
  const flags = bytes[at + 8]!;
  const own = paletteSize(flags);
  const palette = own > 0 ? coloursOf(bytes.subarray(at + 9, at + 9 + own)) : global;
  const dataAt = at + 9 + own + 1;
  const data = { interlaced: (flags & 0x40) !== 0, literalBits: bytes[dataAt - 1]!, dataAt };
  return { left, top, width, height, palette, ...control, ...data };
}

/** The data of a frame: its sub-blocks joined. */
export function joinBlocks(bytes: Uint8Array, at: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let size = bytes[at]; size; at += size + 1, size = bytes[at]) parts.push(bytes.subarray(at + 1, at + 1 + size));
  return Buffer.concat(parts);
}

function skipBlocks(bytes: Uint8Array, at: number): number {
  while (at < bytes.length && bytes[at] !== 0) at += bytes[at]! + 1;
  return at + 1;
}

// The ramp of greys counts as no palette, as Pillow has it: such frames are grey.
function coloursOf(palette: Uint8Array): Uint8Array | null {
  return palette.some((value, i) => value !== Math.floor(i / 3)) ? palette : null;
}
