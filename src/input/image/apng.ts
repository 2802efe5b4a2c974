import { chunksOf, type PngChunk, pngOfChunks } from "./png-chunks.js";
import { type RawImage, requireDecodable } from "./raw-image.js";
import { decodeRgba } from "./sharp-decoder.js";
import { UnsupportedPicture } from "./unsupported.js";

/** Where a frame lies, and what becomes of it and of what is below. Source: APNG specification, `fcTL`. */
type Control = {
  left: number;
  top: number;
  width: number;
  height: number;
  /** 0 stays, 1 gives way to the background, 2 to what was there before. */
  dispose: number;
  over: boolean;
};
const [NONE, BACKGROUND, PREVIOUS] = [0, 1, 2];

/** A frame behind the first. */
type Frame = { control: Control; data: Uint8Array[] };

/** An animated PNG without its pixels. `first`: what is said of the picture that stands in the file as in any other. */
type Apng = { header: Uint8Array; colours: PngChunk[]; first: Control | null; frames: Frame[] };

/**
 * The frames that an animated PNG says it has, with the picture before them where that is none of them; 1 for any other
 * PNG.
 */
export function countApngFrames(bytes: Uint8Array): number {
  let controlled = false;
  let count: number | null = null;
  for (const { kind, body } of chunksOf(bytes)) {
    if (kind === "acTL" && body.length >= 8) count = Buffer.from(body).readUInt32BE(0);
    if (kind === "fcTL") controlled = true;
    if (kind === "IDAT") return count === null || count === 0 ? 1 : count + (controlled ? 0 : 1);
  }
  return 1;
}

/**
 * The screen behind each frame; it changes when the next is asked for. `still` is frame 0, and becomes the screen.
 * Source: Pillow 13, src/PIL/PngImagePlugin.py, `_seek` and `load_end`.
 */
export async function* apngScreens(bytes: Uint8Array, still: RawImage): AsyncGenerator<RawImage, void, void> {
  const file = readApng(bytes);
  let control = file.first;
  // Before the first frame there is nothing to go back to.
  let dispose = control?.dispose === PREVIOUS ? BACKGROUND : (control?.dispose ?? NONE);
  let before: RawImage | null = null;
  const screen = still;
  yield screen;
  if (file.frames.length > 0) requireLayable(file);
  for (const frame of file.frames) {
    if (control && dispose === BACKGROUND) fill(screen, control, backgroundOf(file));
    if (control && dispose === PREVIOUS && before) paint(screen, control, before);
    before = { ...screen, data: screen.data.slice() };
    control = frame.control;
    requireInside(control, screen);
    draw(screen, control, await decodeRgba(pngOf(file, frame)), file.header[9] === GREY);
    // Pillow goes back to what a frame that is laid over others has left, which is itself.
    if (control.over) before = screen;
    dispose = control.dispose;
    yield screen;
  }
}

const [GREY, PALETTE] = [0, 3];

function readApng(bytes: Uint8Array): Apng {
  const file: Apng = { header: new Uint8Array(13), colours: [], first: null, frames: [] };
  let control: Control | null = null;
  for (const { kind, body } of chunksOf(bytes)) {
    if (kind === "IHDR") file.header = body;
    else if (kind === "PLTE" || kind === "tRNS") file.colours.push({ kind, body });
    else if (kind === "fcTL") control = controlOf(body);
    else if (kind === "IDAT") file.first ??= control;
    else if (kind === "fdAT" && control) {
      if (file.frames.at(-1)?.control !== control) file.frames.push({ control, data: [] });
      file.frames.at(-1)!.data.push(body.subarray(4));
    }
  }
  return file;
}

function controlOf(body: Uint8Array): Control {
  if (body.length < 26) throw new Error("a frame says not where it lies");
  const [width, height, left, top] = [4, 8, 12, 16].map((at) => Buffer.from(body).readUInt32BE(at)) as [
    ...[number, number, number, number],
  ];
  return { left, top, width, height, dispose: body[24]!, over: body[25] === 1 };
}

// Pillow mixes palette indices by their transparency, and takes grey of 16 bits for more than it is.
function requireLayable({ header, colours }: Apng): void {
  const partial =
    header[9] === PALETTE &&
    colours.some(({ kind, body }) => kind === "tRNS" && body.some((alpha) => alpha % 255 !== 0));
  const wide = header[8] === 16 && header[9] === GREY;
  if (!partial && !wide) return;
  const kind = wide ? "16-bit grey" : "half transparent palette colours";
  throw new UnsupportedPicture(
    `of an animated PNG with ${kind} only the first frame is read; give its frames as files`,
  );
}

function requireInside({ left, top, width, height }: Control, screen: RawImage): void {
  requireDecodable(width, height);
  if (left + width > screen.width || top + height > screen.height) throw new Error("a frame lies outside the picture");
}

/** A frame as a file of its own. */
function pngOf({ header, colours }: Apng, { control, data }: Frame): Uint8Array {
  const own = Buffer.from(header);
  own.writeUInt32BE(control.width, 0);
  own.writeUInt32BE(control.height, 4);
  return pngOfChunks([
    { kind: "IHDR", body: own },
    ...colours,
    ...data.map((body) => ({ kind: "IDAT", body })),
    { kind: "IEND", body: new Uint8Array(0) },
  ]);
}

/** Index 0 of a palette, else black. */
function backgroundOf({ header, colours }: Apng): Uint8Array {
  const palette = header[9] === PALETTE ? colours.find(({ kind }) => kind === "PLTE")?.body : undefined;
  return palette?.subarray(0, 3) ?? new Uint8Array(3);
}

function fill(screen: RawImage, { left, top, width, height }: Control, colour: Uint8Array): void {
  for (let y = top; y < top + height; y++) {
    for (let x = left; x < left + width; x++) screen.data.set(colour, 3 * (y * screen.width + x));
  }
}

function paint(screen: RawImage, { left, top, width, height }: Control, source: RawImage): void {
  for (let y = top; y < top + height; y++) {
    const from = 3 * (y * screen.width + left);
    screen.data.set(source.data.subarray(from, from + 3 * width), from);
  }
}

// Source: Pillow, src/libImaging/Paste.c, `paste_mask_RGBA`. A transparent grey is laid over like any other, as there.
function draw(screen: RawImage, control: Control, rgba: Uint8Array, opaque: boolean): void {
  const { left, top, width, height, over } = control;
  for (let y = 0, from = 0; y < height; y++) {
    for (let x = 0, to = 3 * ((top + y) * screen.width + left); x < width; x++, from += 4, to += 3) {
      const alpha = over && !opaque ? rgba[from + 3]! : 255;
      for (let c = 0; c < 3; c++) {
        const sum = screen.data[to + c]! * (255 - alpha) + rgba[from + c]! * alpha + 128;
        screen.data[to + c] = ((sum >> 8) + sum) >> 8;
      }
    }
  }
}
