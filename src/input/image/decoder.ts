import type { Orientation } from "./orientation.js";
import type { RawImage } from "./raw-image.js";

/**
 * Reads files of one format. Each function throws `UnsupportedPicture` for a kind that is not read, and any other
 * `Error` where the file is damaged.
 */
export type Decoder = {
  /** How many frames or pages there are. */
  frames(bytes: Uint8Array): Promise<number>;
  /** How the stored picture is to be turned. */
  orientation(bytes: Uint8Array, frame: number): Orientation;
  /** Frame `frame`, counted from 0, as it is stored: not turned. */
  decode(bytes: Uint8Array, frame: number): Promise<RawImage>;
  /** Several frames in rising order, for formats in which each frame is laid over those before it. */
  decodeFrames?(bytes: Uint8Array, frames: readonly number[]): Promise<RawImage[]>;
};
