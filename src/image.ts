import sharp, { type Metadata, type Sharp } from "sharp";
import { FileTooLongError, NotAFileError, readPlain } from "../weights/plain-file.js";
import { decodingRoom, NoRoomError } from "./decoding-room.js";
import { InputError } from "./errors.js";

/** A picture as decoders hand it over: RGB interleaved row by row, `data.length === width * height * 3`. */
export type RawImage = { data: Uint8Array; width: number; height: number };

/** Pixels that are ready for the model: [height, width, 3] in [-1, 1], taken as they are. */
export type PixelTensorInput = { pixels: Float32Array; width: number; height: number };

/** Whatever the processor accepts as one picture: a path, the bytes of a file, decoded RGB, or a ready pixel tensor. */
export type ImageInput = string | Uint8Array | ArrayBuffer | RawImage | PixelTensorInput;

/** More pixels than this are taken for a decompression bomb. Source: Pillow, 2 x `MAX_IMAGE_PIXELS`, its own limit. */
export const MAX_IMAGE_PIXELS = 178_956_970;

/** A file larger than this is not read; no picture within `MAX_IMAGE_PIXELS` needs as much. */
export const MAX_IMAGE_FILE_BYTES = 2 ** 30;

const FORMATS = "JPEG, PNG, WebP, TIFF, GIF and AVIF";

/** How the files that we read begin: bytes (Latin-1) at an offset. */
const SIGNATURES: readonly { at: number; begins: string }[] = [
  { at: 0, begins: "\xff\xd8\xff" }, // JPEG
  { at: 0, begins: "\x89PNG\r\n\x1a\n" },
  { at: 8, begins: "WEBP" },
  { at: 0, begins: "II*\0" }, // TIFF, little-endian
  { at: 0, begins: "MM\0*" }, // TIFF, big-endian
  { at: 0, begins: "GIF8" },
  { at: 4, begins: "ftypavif" },
  { at: 4, begins: "ftypavis" }, // an AVIF sequence
  { at: 4, begins: "ftypmif1" }, // AVIF by its compatible brands
];

/**
 * Decodes a picture as Pillow's `ImageOps.exif_transpose(Image.open(file)).convert("RGB")` does: orientation applied, alpha
 * dropped and not composited, grey and palette expanded, embedded colour profiles ignored, the first frame of several.
 * 16-bit grey is clipped to 255, as Pillow clips it. One difference: transparent pixels of a GIF are black, where Pillow
 * shows the colour hidden behind them. A `RawImage` is checked and returned as it is.
 * `frame`: another one than the first, counted from 0. Throws `InputError` that begins with the path, or with `label` where the input is not a path.
 */
export async function decodeImage(
  input: Exclude<ImageInput, PixelTensorInput>,
  label = "image",
  { frame = 0 }: { frame?: number } = {},
): Promise<RawImage> {
  if (isRawImage(input)) return checkedRaw(input, label);
  return readEncoded(input, label, (bytes, name) => decodeBytes(bytes, name, frame));
}

/** Frames of an animated picture file; 1 for any other picture. Throws `InputError` as `decodeImage` does. */
export function countFrames(input: string | Uint8Array | ArrayBuffer, label = "image"): Promise<number> {
  return readEncoded(input, label, async (bytes) => (await sharp(bytes, OPTIONS).metadata()).pages ?? 1);
}

// What `read` makes of the bytes of a picture file; its errors are the file's.
async function readEncoded<Result>(
  input: string | Uint8Array | ArrayBuffer,
  label: string,
  read: (bytes: Uint8Array, name: string) => Promise<Result>,
): Promise<Result> {
  const name = typeof input === "string" ? input : label;
  const bytes = typeof input === "string" ? await readImageFile(input) : bytesOf(input, label);
  if (bytes.length === 0)
    throw new InputError(`${name}: the image is empty (0 bytes); give a file that holds a picture`);
  if (!SIGNATURES.some(({ at, begins }) => startsAt(bytes, at, begins))) {
    throw new InputError(`${name}: not an image that can be read; expected ${FORMATS}, got ${hexStart(bytes)}...`);
  }
  try {
    return await read(bytes, name);
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof NoRoomError) throw new InputError(`${name}: ${error.message}`, { cause: error });
    const reason = error instanceof Error ? error.message.trim().split("\n")[0] : String(error);
    throw new InputError(`${name}: the image is truncated or damaged (${reason}); replace the file`, { cause: error });
  }
}

/** Whether an input is a ready pixel tensor, which is neither decoded nor resized. */
export function isPixelTensor(input: ImageInput): input is PixelTensorInput {
  return typeof input === "object" && input !== null && "pixels" in input;
}

/** Whether an input is decoded RGB. */
function isRawImage(input: Exclude<ImageInput, PixelTensorInput>): input is RawImage {
  return typeof input === "object" && input !== null && "width" in input && "data" in input;
}

function bytesOf(input: Uint8Array | ArrayBuffer, label: string): Uint8Array {
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  if (input instanceof Uint8Array) return input;
  const type = input === null ? "null" : typeof input;
  throw new InputError(`${label}: expected a path, the bytes of a file, RGB or pixels, got ${type}`);
}

function checkedRaw(image: RawImage, label: string): RawImage {
  const { data, width, height } = image;
  if (!Number.isInteger(width) || !Number.isInteger(height) || width < 1 || height < 1) {
    throw new InputError(`${label}: width and height must be positive integers, got ${width} x ${height}`);
  }
  if (
    !(data instanceof Uint8Array || (data as unknown) instanceof Uint8ClampedArray) ||
    data.length !== width * height * 3
  ) {
    const count = data?.length ?? 0;
    const expected = `a Uint8Array of ${width} x ${height} x 3 = ${width * height * 3} RGB bytes`;
    throw new InputError(`${label}: expected ${expected}, got ${count}; drop the alpha channel or correct the size`);
  }
  return image;
}

async function readImageFile(path: string): Promise<Uint8Array> {
  try {
    return await readPlain(path, MAX_IMAGE_FILE_BYTES);
  } catch (error) {
    throw new InputError(`${path}: ${readFailure(error)}`, { cause: error });
  }
}

function readFailure(error: unknown): string {
  if (error instanceof NotAFileError) {
    const advice = error.kind === "a folder" ? "name a file in it" : "save it as a regular file and name that";
    return `this is ${error.kind}, not an image file; ${advice}`;
  }
  if (error instanceof FileTooLongError) {
    return `the file has more than the ${error.limit} bytes that are read as an image; shrink it first`;
  }
  switch ((error as NodeJS.ErrnoException).code) {
    case "ENOENT":
    case "ENOTDIR":
      return "there is no such image file; check the path";
    case "EACCES":
    case "EPERM":
      return "the image file may not be read; check its permissions";
    default:
      return `the image file cannot be read (${error instanceof Error ? error.message : String(error)})`;
  }
}

function startsAt(bytes: Uint8Array, at: number, text: string): boolean {
  return [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
}

function hexStart(bytes: Uint8Array): string {
  return `bytes ${Buffer.from(bytes.subarray(0, 8)).toString("hex")}`;
}

const OPTIONS = { autoOrient: true, ignoreIcc: true, failOn: "error", limitInputPixels: false } as const;

async function decodeBytes(bytes: Uint8Array, name: string, page: number): Promise<RawImage> {
  const options = { ...OPTIONS, page };
  const { width, height, space, depth, channels } = await sharp(bytes, options).metadata();
  if (width * height > MAX_IMAGE_PIXELS) {
    const limit = `more than the ${MAX_IMAGE_PIXELS} pixels that are decoded`;
    throw new InputError(`${name}: the image claims ${width} x ${height} pixels, ${limit}; shrink it first`);
  }
  return decodingRoom.decode(width * height, () => rgbOf(sharp(bytes, options), { space, depth, channels }));
}

async function rgbOf(
  pipeline: Sharp,
  { space, depth, channels }: Pick<Metadata, "space" | "depth" | "channels">,
): Promise<RawImage> {
  if (space === "cmyk") {
    // Without the pipeline in CMYK, libvips converts through a press profile of its own.
    const { data, info } = await pixels(pipeline.pipelineColourspace("cmyk").toColourspace("cmyk").raw());
    return { data: cmykToRgb(data, info.channels), width: info.width, height: info.height };
  }
  if (depth === "ushort" && channels === 1) {
    const { data, info } = await pixels(pipeline.toColourspace("grey16").raw({ depth: "ushort" }));
    return { data: clippedGrey(data), width: info.width, height: info.height };
  }
  const { data, info } = await pixels(pipeline.removeAlpha().toColourspace("srgb").raw({ depth: "uchar" }));
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.length), width: info.width, height: info.height };
}

const pixels = (pipeline: Sharp) => pipeline.toBuffer({ resolveWithObject: true });

/**
 * red = clip(nk - c * nk / 255) with nk = 255 - k, and the same for green and blue.
 * Source: Pillow, src/libImaging/Convert.c, `cmyk2rgb`, with its rounding of the division.
 */
function cmykToRgb(data: Uint8Array, channels: number): Uint8Array {
  const rgb = new Uint8Array((data.length / channels) * 3);
  for (let from = 0, to = 0; from < data.length; from += channels, to += 3) {
    const light = 255 - data[from + 3];
    for (let c = 0; c < 3; c++) {
      const product = data[from + c] * light + 128;
      rgb[to + c] = light - (((product >> 8) + product) >> 8);
    }
  }
  return rgb;
}

/** 16-bit grey (native byte order) to RGB, clipped. Source: Pillow, src/libImaging/Convert.c, `I16_RGB`. */
function clippedGrey(data: Uint8Array): Uint8Array {
  const grey = new Uint16Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
  const rgb = new Uint8Array(grey.length * 3);
  grey.forEach((value, i) => rgb.fill(Math.min(value, 255), 3 * i, 3 * i + 3));
  return rgb;
}
