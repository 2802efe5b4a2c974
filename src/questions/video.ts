import { InputError } from "../errors.js";
import { countFrames, decodeImage, type RawImage } from "../image.js";
import { requireWhole } from "../whole-number.js";

/** An animation (GIF or WebP: a path or its bytes), or the frames themselves in order, one picture file each. */
export type Video = string | Uint8Array | readonly (string | Uint8Array | RawImage)[];

/** Most frames of a question: each costs at least 256 of the 8192 positions that a PaliGemma has. */
const MAX_FRAMES = 1024;

/**
 * `count` frames of a video, in order, to be asked about together as `image`: evenly spaced, from the first, frame floor(i · n / count) of n;
 * a video of fewer frames is repeated as a whole until they suffice. Each costs P image tokens. Only checkpoints that were
 * trained on several pictures make sense of them. Throws `InputError` for files that cannot be read and counts below 1 or above 1024.
 * Source: google-research/big_vision, pp/proj/paligemma/video.py (video_replicate_img).
 */
export async function videoFrames(video: Video, count: number): Promise<RawImage[]> {
  requireWhole("frames", count, 1);
  if (count > MAX_FRAMES) throw new InputError(`frames: expected at most ${MAX_FRAMES}, received ${count}`);
  const single = typeof video === "string" || video instanceof Uint8Array;
  const available = single ? await countFrames(video, "video") : video.length;
  if (available === 0) throw new InputError("video: expected at least one frame, received none");
  const decoded = new Map<number, Promise<RawImage>>();
  const frame = (at: number): Promise<RawImage> =>
    single ? decodeImage(video, "video", { frame: at }) : decodeImage(video[at], `frame ${at + 1}`);
  const indices = frameIndices(available, count);
  for (const at of indices) if (!decoded.has(at)) decoded.set(at, frame(at));
  return Promise.all(indices.map((at) => decoded.get(at)!));
}

/** Which of `available` frames `videoFrames` takes. */
export const frameIndices = (available: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => (available < count ? i % available : Math.floor((i * available) / count)));
