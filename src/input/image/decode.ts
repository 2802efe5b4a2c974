import { NoRoomError } from "../decoding-room.js";
import { InputError } from "../../base/errors.js";
import type { Decoder } from "./decoder.js";
import { DECODERS } from "./decoders.js";
import { formatOf } from "./file-kind.js";
import { upright } from "./orientation.js";
import { type PictureFile, type PictureOptions, readPictureFile } from "./picture-source.js";
import type { RawImage } from "./raw-image.js";
import { checkOptions, flag, number, type OptionKinds } from "../../base/options.js";
import { UnsupportedPicture } from "./unsupported.js";

export { MAX_IMAGE_FILE_BYTES } from "./image-file.js";
export type { PictureFile, PictureOptions } from "./picture-source.js";
export { MAX_IMAGE_PIXELS, type RawImage } from "./raw-image.js";

/** Pixels that are ready for the model: [height, width, 3] in [-1, 1], taken as they are. */
export type PixelTensorInput = { pixels: Float32Array; width: number; height: number };

/** Whatever the processor accepts as one picture: a file in any form, decoded RGB, or a ready pixel tensor. */
export type ImageInput = PictureFile | RawImage | PixelTensorInput;

/** Which frame of a picture is meant, and how its file is come by. */
export type DecodeOptions = PictureOptions & {
  /** Of an animation, or of a TIFF with several pages, counted from 0. */
  frame?: number | undefined;
};

/** Of the options of a picture file. */
export const PICTURE_KINDS: OptionKinds<PictureOptions> = { fetchPictures: flag };
const DECODING: OptionKinds<DecodeOptions> = { ...PICTURE_KINDS, frame: number };

/**
 * Decodes a picture as Pillow's `ImageOps.exif_transpose(Image.open(file)).convert("RGB")` does: orientation applied,
 * alpha dropped and not composited, grey and palette expanded, embedded colour profiles ignored, the first frame of
 * several, grey of more than 8 bits clipped to 255. A `RawImage` is checked and returned as it is. Throws `InputError`
 * that begins with the path or address, or with `label` where the input is neither.
 */
export async function decodeImage(
  input: Exclude<ImageInput, PixelTensorInput>,
  label = "image",
  options: DecodeOptions = {},
): Promise<RawImage> {
  const { frame = 0, fetchPictures } = checkOptions("decodeImage", options, DECODING);
  if (isRawImage(input)) return checkedRaw(input, label);
  if (!Number.isSafeInteger(frame) || frame < 0) {
    throw new InputError(`${label}: frame: expected a whole number >= 0, received ${String(frame)}`);
  }
  return read(input, label, { fetchPictures }, async (decoder, bytes, name) => {
    if (frame > 0) await requireFrame(decoder, bytes, { frame, name });
    return upright(await decoder.decode(bytes, frame), decoder.orientation(bytes, frame));
  });
}

/** Several frames of one file, given in rising order, each as `decodeImage` decodes it. Throws as that does. */
export async function decodeFrames(
  input: PictureFile,
  frames: readonly number[],
  label = "image",
  options: PictureOptions = {},
): Promise<RawImage[]> {
  return read(input, label, options, async (decoder, bytes) => {
    const stored = await (decoder.decodeFrames?.(bytes, frames) ??
      Promise.all(frames.map((frame) => decoder.decode(bytes, frame))));
    return stored.map((image, i) => upright(image, decoder.orientation(bytes, frames[i]!)));
  });
}

/**
 * Frames of an animated picture file, pages of a TIFF; 1 for any other picture. Throws `InputError` as `decodeImage`
 * does.
 */
export function countFrames(input: PictureFile, label = "image", options: PictureOptions = {}): Promise<number> {
  return read(input, label, options, (decoder, bytes) => decoder.frames(bytes));
}

async function requireFrame(
  decoder: Decoder,
  bytes: Uint8Array,
  { frame, name }: { frame: number; name: string },
): Promise<void> {
  const count = await decoder.frames(bytes);
  if (frame >= count)
    throw new InputError(`${name}: frame: expected one of ${count}, counted from 0, received ${frame}`);
}

// What `use` makes of a picture file; errors of the decoder become the file's.
async function read<Result>(
  input: PictureFile,
  label: string,
  options: PictureOptions,
  use: (decoder: Decoder, bytes: Uint8Array, name: string) => Promise<Result>,
): Promise<Result> {
  const { bytes, name } = await readPictureFile(input, label, checkOptions("picture", options, PICTURE_KINDS));
  if (bytes.length === 0) {
    throw new InputError(`${name}: the image is empty (0 bytes); give a file that holds a picture`);
  }
  try {
    return await use(DECODERS[formatOf(bytes)], bytes, name);
  } catch (error) {
    if (error instanceof InputError) throw error;
    if (error instanceof UnsupportedPicture || error instanceof NoRoomError) {
      throw new InputError(`${name}: ${error.message}`, { cause: error });
    }
    const reason = (error instanceof Error ? error.message : String(error)).trim().split("\n")[0]!.slice(0, 200);
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
