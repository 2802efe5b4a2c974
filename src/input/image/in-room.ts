import { decodingRoom } from "../decoding-room.js";
import { requireDecodable } from "./raw-image.js";

/**
 * Does `work`, which decodes a picture of that size, once there is memory for it; not to be used within itself.
 * `times`: how much more it takes than libvips. Throws `UnsupportedPicture` for a size that is not decoded, and
 * `NoRoomError`.
 */
export function inRoom<Result>(
  { width, height }: { width: number; height: number },
  work: () => Result | Promise<Result>,
  times = 1,
): Promise<Result> {
  requireDecodable(width, height);
  return decodingRoom.decode(width * height * times, async () => work());
}
