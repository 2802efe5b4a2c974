import { InputError } from "../base/errors.js";
import { readPictureFile } from "../input/image/picture-source.js";
import {
  countFrames,
  decodeFrames,
  decodeImage,
  PICTURE_KINDS,
  type PictureFile,
  type PictureOptions,
  type RawImage,
} from "../input/image/decode.js";
import { checkOptions } from "../base/options.js";
import { requireWhole } from "../base/whole-number.js";

/** An animation or a TIFF with several pages, or the frames themselves in order, one picture file each. */
export type Video = PictureFile | readonly (PictureFile | RawImage)[];

/** Most frames of a question: each costs at least 256 of the 8192 positions that a PaliGemma has. */
const MAX_FRAMES = 1024;

/**
 * `count` frames of a video, in order, to be asked about together as `image`: evenly spaced, from the first, frame
 * floor(i · n / count) of n; a video of fewer frames is repeated as a whole until they suffice. Each costs P image
 * tokens. Only checkpoints that were trained on several pictures make sense of them. Throws `InputError` for files that
 * cannot be read, frames that are not read (of AVIF sequences all but the first) and counts below 1 or above 1024.
 * Source: google-research/big_vision, pp/proj/paligemma/video.py (video_replicate_img).
 */
export async function videoFrames(video: Video, count: number, options: PictureOptions = {}): Promise<RawImage[]> {
  checkOptions("videoFrames", options, PICTURE_KINDS);
  requireWhole("frames", count, 1);
  if (count > MAX_FRAMES) throw new InputError(`frames: expected at most ${MAX_FRAMES}, received ${count}`);
  const { available, decode } = isList(video) ? framesOfFiles(video, options) : await framesOfFile(video, options);
  if (available === 0) throw new InputError("video: expected at least one frame, received none");
  const indices = frameIndices(available, count);
  const wanted = [...new Set(indices)].sort((a, b) => a - b);
  const decoded = await decode(wanted);
  return indices.map((at) => decoded[wanted.indexOf(at)]!);
}

type Frames = { available: number; decode: (wanted: readonly number[]) => Promise<RawImage[]> };

const isList = (video: Video): video is readonly (PictureFile | RawImage)[] => Array.isArray(video);

const framesOfFiles = (files: readonly (PictureFile | RawImage)[], options: PictureOptions): Frames => ({
  available: files.length,
  decode: (wanted) => Promise.all(wanted.map((at) => decodeImage(files[at]!, `frame ${at + 1}`, options))),
});

// The file is read, or fetched, once for all of its frames.
async function framesOfFile(video: PictureFile, options: PictureOptions): Promise<Frames> {
  const { bytes, name } = await readPictureFile(video, "video", options);
  return { available: await countFrames(bytes, name), decode: (wanted) => decodeFrames(bytes, wanted, name) };
}

/** Which of `available` frames `videoFrames` takes. */
export const frameIndices = (available: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => (available < count ? i % available : Math.floor((i * available) / count)));
