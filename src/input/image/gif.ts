import type { Decoder } from "./decoder.js";
import { type GifFile, type GifFrame, joinBlocks, readGif } from "./gif-blocks.js";
import { inRoom } from "./in-room.js";
import { decodeLzw } from "./lzw.js";
import { type RawImage, requireDecodable } from "./raw-image.js";
import { UnsupportedPicture } from "./unsupported.js";

type Colour = readonly [red: number, green: number, blue: number];
type Box = Pick<GifFrame, "left" | "top" | "width" | "height">;
const BLACK: Colour = [0, 0, 0];

/**
 * GIF with its frames laid over each other as Pillow does it; pixels that stay transparent show the colour that is
 * hidden behind them.
 */
export const gif: Decoder = {
  frames: async (bytes) => readGif(bytes).frames.length,
  orientation: () => 1,
  decode: async (bytes, frame) => (await framesOf(bytes, [frame]))[0]!,
  decodeFrames: framesOf,
};

async function framesOf(bytes: Uint8Array, wanted: readonly number[]): Promise<RawImage[]> {
  const last = Math.max(...wanted);
  const file = readGif(bytes, last + 1);
  if (last >= file.frames.length) throw new Error(`it has ${file.frames.length} frames`);
  // The screen grows where a frame exceeds it.
  const ends = (side: (frame: GifFrame) => number, own: number): number =>
    file.frames.reduce((most, frame) => Math.max(most, side(frame)), Math.max(own, 1));
  const size = {
    width: ends(({ left, width }) => left + width, file.width),
    height: ends(({ top, height }) => top + height, file.height),
  };
  return inRoom(size, () => chosenScreens(bytes, file, wanted), 1 + wanted.length / 3);
}

function chosenScreens(bytes: Uint8Array, file: GifFile, wanted: readonly number[]): RawImage[] {
  const last = Math.max(...wanted);
  const found: RawImage[] = [];
  for (const { frame, screen } of screensOf(bytes, file)) {
    if (frame === last) found.push(screen);
    else if (wanted.includes(frame)) found.push({ ...screen, data: screen.data.slice() });
  }
  return found;
}

/**
 * The screen behind each frame; it changes when the next is asked for. Source: Pillow 13, src/PIL/GifImagePlugin.py,
 * `_seek`, `load_prepare`.
 */
function* screensOf(bytes: Uint8Array, file: GifFile): Generator<{ frame: number; screen: RawImage }, void, void> {
  let screen: RawImage = { data: new Uint8Array(0), width: file.width, height: file.height };
  let dispose: { box: Box; with: Colour | RawImage } | null = null;
  for (const [i, frame] of file.frames.entries()) {
    if (i > 0) requireOneKind(file, frame);
    const indices = indicesOf(bytes, frame);
    if (dispose) paint(screen, dispose.box, dispose.with);
    const [width, height] = [
      Math.max(screen.width, frame.left + frame.width),
      Math.max(screen.height, frame.top + frame.height),
    ];
    // What lies outside the first frame has the transparent colour, or the first of the palette.
    if (i === 0) screen = blank(width, height, colourOf(frame, frame.transparent ?? 0));
    else screen = enlarged(screen, { width, height }, frame.transparent === null ? colourOf(frame, 0) : BLACK);
    dispose = disposalOf(file, i, screen);
    draw(screen, frame, indices, i > 0 ? frame.transparent : null);
    yield { frame: i, screen };
  }
}

// What Pillow shows of such a file follows no rule.
function requireOneKind({ greyFirst, frames }: GifFile, frame: GifFrame): void {
  if (!greyFirst || (frame.palette === null && frames[0]!.palette === null)) return;
  const advice = "give its frames as files";
  throw new UnsupportedPicture(
    `of a GIF whose first frame is grey and others coloured only the first is read; ${advice}`,
  );
}

/** What a frame gives way to. */
function disposalOf(file: GifFile, i: number, screen: RawImage): { box: Box; with: Colour | RawImage } | null {
  const frame = file.frames[i]!;
  if (frame.disposal < 2) return null;
  const { transparent } = frame;
  if (frame.disposal === 2) {
    // Pillow keeps the first frame's transparent index until colours replace indices, and in grey files for ever.
    const index = (file.greyFirst ? file.frames[0]!.transparent : null) ?? transparent ?? file.background;
    return { box: frame, with: colourOf(frame, index) };
  }
  if (i > 0) return { box: frame, with: cropped(screen, frame) };
  return transparent === null ? null : { box: frame, with: colourOf(frame, transparent) };
}

/** The palette indices of a frame, row by row. Throws an `Error` where there are too few. */
function indicesOf(bytes: Uint8Array, { dataAt, literalBits, width, height, interlaced }: GifFrame): Uint8Array {
  if (width === 0 || height === 0) return new Uint8Array(0);
  requireDecodable(width, height);
  if (literalBits < 1 || literalBits > 11) throw new Error(`codes of ${literalBits} bits`);
  const indices = new Uint8Array(width * height);
  const found = decodeLzw(joinBlocks(bytes, dataAt), indices, { literalBits, lowestFirst: true, early: 0 });
  if (found < indices.length) throw new Error(`a frame has ${found} of ${indices.length} pixels`);
  return interlaced ? deinterlaced(indices, width, height) : indices;
}

/** Source: GIF89a specification, appendix E. */
function deinterlaced(indices: Uint8Array, width: number, height: number): Uint8Array {
  const rows = new Uint8Array(indices.length);
  let from = 0;
  for (const [first, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let y = first; y < height; y += step, from += width) rows.set(indices.subarray(from, from + width), y * width);
  }
  return rows;
}

function colourOf({ palette }: GifFrame, index: number): Colour {
  if (palette === null) return [index, index, index];
  const at = 3 * index;
  return at + 3 > palette.length ? BLACK : [palette[at]!, palette[at + 1]!, palette[at + 2]!];
}

function draw(screen: RawImage, frame: GifFrame, indices: Uint8Array, skipped: number | null): void {
  const colours = Array.from({ length: 256 }, (_, i) => colourOf(frame, i));
  for (let y = 0, from = 0; y < frame.height; y++) {
    for (let x = 0, to = 3 * ((frame.top + y) * screen.width + frame.left); x < frame.width; x++, from++, to += 3) {
      if (indices[from] !== skipped) screen.data.set(colours[indices[from]!]!, to);
    }
  }
}

function blank(width: number, height: number, colour: Colour): RawImage {
  requireDecodable(width, height);
  const data = new Uint8Array(width * height * 3);
  data.set(colour);
  // Doubled until it is full: pixel by pixel takes seconds for a large screen.
  for (let filled = 3; filled < data.length; filled *= 2) data.copyWithin(filled, 0, filled);
  return { data, width, height };
}

function enlarged(screen: RawImage, { width, height }: { width: number; height: number }, colour: Colour): RawImage {
  if (width === screen.width && height === screen.height) return screen;
  const larger = blank(width, height, colour);
  paint(larger, { left: 0, top: 0, width: screen.width, height: screen.height }, screen);
  return larger;
}

function cropped(screen: RawImage, box: Box): RawImage {
  const data = new Uint8Array(box.width * box.height * 3);
  for (let y = 0; y < box.height; y++) {
    const from = 3 * ((box.top + y) * screen.width + box.left);
    data.set(screen.data.subarray(from, from + 3 * box.width), 3 * y * box.width);
  }
  return { data, width: box.width, height: box.height };
}

function paint(screen: RawImage, { left, top, width, height }: Box, source: Colour | RawImage): void {
  for (let y = 0; y < height; y++) {
    const to = 3 * ((top + y) * screen.width + left);
    if ("data" in source) screen.data.set(source.data.subarray(3 * y * width, 3 * (y + 1) * width), to);
    else for (let x = 0; x < width; x++) screen.data.set(source, to + 3 * x);
  }
}
