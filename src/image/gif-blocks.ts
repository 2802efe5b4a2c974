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

/**
 * Reads the blocks of a GIF, the first `limit` frames; a file that is cut off ends where it is cut. Throws an `Error` where there is no
 * frame at all. Source: GIF89a specification.
 */
export function readGif(bytes: Uint8Array, limit = Infinity): GifFile {
  if (bytes.length < 13) throw new Error("its header is cut off");
  const u16 = (at: number): number => bytes[at]! | (bytes[at + 1]! << 8);
  const globalSize = bytes[10]! & 0x80 ? 3 << ((bytes[10]! & 7) + 1) : 0;
  const global = coloursOf(bytes.subarray(13, 13 + globalSize));
  const file: Omit<GifFile, "greyFirst"> = {
    width: u16(6),
    height: u16(8),
    background: globalSize > 0 ? bytes[11]! : 0,
    frames: [],
  };
  let control: { transparent: number | null; disposal: number } = { transparent: null, disposal: 0 };
  for (let at = 13 + globalSize; at < bytes.length && file.frames.length < limit;) {
    const kind = bytes[at++];
    if (kind === TRAILER) break;
    if (kind === EXTENSION) {
      if (bytes[at] === GRAPHIC_CONTROL && bytes[at + 1]! >= 4) {
        const flags = bytes[at + 2]!;
        const transparent = flags & 1 ? bytes[at + 5]! : control.transparent;
        control = { transparent, disposal: (flags >> 2) & 7 || control.disposal };
      }
      at = skipBlocks(bytes, at + 1);
    } else if (kind === IMAGE) {
      if (at + 10 > bytes.length) break;
      const flags = bytes[at + 8]!;
      const ownSize = flags & 0x80 ? 3 << ((flags & 7) + 1) : 0;
      const palette = ownSize > 0 ? coloursOf(bytes.subarray(at + 9, at + 9 + ownSize)) : global;
      const dataAt = at + 9 + ownSize + 1;
      file.frames.push({
        ...{ left: u16(at), top: u16(at + 2), width: u16(at + 4), height: u16(at + 6) },
        ...{ palette, interlaced: (flags & 0x40) !== 0, ...control },
        ...{ literalBits: bytes[dataAt - 1]!, dataAt },
      });
      control = { transparent: null, disposal: control.disposal };
      at = skipBlocks(bytes, dataAt);
    }
  }
  const [first] = file.frames;
  if (!first) throw new Error("it holds no frame");
  // Where a first frame brings a ramp of greys into a file with colours, Pillow shows it in those.
  return {
    ...file,
    greyFirst: first.palette === null,
    frames: [{ ...first, palette: first.palette ?? global }, ...file.frames.slice(1)],
  };
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
