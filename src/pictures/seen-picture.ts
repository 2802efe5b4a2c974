import { InputError } from "../base/errors.js";

/** A picture as the model saw it, squashed to its square, and the size that it had before. */
export type SeenPicture = { png: Uint8Array; originalSize: { width: number; height: number } };

const SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/**
 * The size that a PNG file states in its header. Throws `InputError` that begins with `label` where the bytes are none.
 */
export function pngSize(png: Uint8Array, label: string): { width: number; height: number } {
  const header = Buffer.from(png.buffer, png.byteOffset, Math.min(png.byteLength, 24));
  if (header.length < 24 || !header.subarray(0, 8).equals(SIGNATURE)) {
    const start = header.subarray(0, 8).toString("hex");
    throw new InputError(`${label}: expected the bytes of a PNG file, got ${start}...; encodePng makes them from RGB`);
  }
  return { width: header.readUInt32BE(16), height: header.readUInt32BE(20) };
}

/** The picture as a data URI. Throws `InputError` where the bytes are no PNG file or a size is not positive. */
export function pictureUri(picture: SeenPicture, label: string): string {
  pngSize(picture.png, `${label}.png`);
  const { width, height } = picture.originalSize;
  if (!(width >= 1 && height >= 1)) {
    throw new InputError(`${label}.originalSize: expected positive width and height, got ${width} x ${height}`);
  }
  return `data:image/png;base64,${Buffer.from(picture.png).toString("base64")}`;
}

/**
 * The size to draw a picture at, with `side` pixels on its longer side: as the model saw it, or, with `undoSquash`, in
 * the proportions that it had before.
 */
export function drawnSize(picture: SeenPicture, side: number, undoSquash: boolean): { width: number; height: number } {
  const { width, height } = undoSquash ? picture.originalSize : pngSize(picture.png, "picture.png");
  const scale = side / Math.max(width, height);
  return { width: Math.max(width * scale, 1), height: Math.max(height * scale, 1) };
}
