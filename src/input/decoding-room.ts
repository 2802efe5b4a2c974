import "../../weights/node-memory.js";
import { availableBytes, gigabytes } from "../../weights/available-memory.js";

/**
 * Bytes that a decoder takes for a pixel, RGB in the end among them: measured as 8 with libvips 8.17 for WebP, whose
 * frames are laid over each other, and 3 to 4 for the other formats.
 */
const BYTES_PER_PIXEL = 9;

/** Most bytes that pictures being decoded may take together, if a single one does not need more. */
const MOST_TOGETHER = 2 ** 31;

/** A picture that needs more memory than there is; the message says how much, and goes on from a name and a colon. */
export class NoRoomError extends Error {}

/** Room for decoding pictures: so many at a time as fit, in the order in which they come. */
export class DecodingRoom {
  private taken = 0;
  private last: Promise<void> = Promise.resolve();
  private readonly leaving = new Set<() => void>();

  /** `available`: bytes that the process may still take. */
  constructor(private readonly available: () => number = availableBytes) {}

  /**
   * Does `work`, which decodes so many pixels, once there is memory for it beside what is being decoded. Throws
   * `NoRoomError` where there is none for it alone.
   */
  async decode<Result>(pixels: number, work: () => Promise<Result>): Promise<Result> {
    const bytes = pixels * BYTES_PER_PIXEL;
    const entered = this.last.then(() => this.enter(bytes));
    this.last = entered.catch(() => {});
    await entered;
    try {
      return await work();
    } finally {
      this.taken -= bytes;
      for (const leave of this.leaving) leave();
    }
  }

  private async enter(bytes: number): Promise<void> {
    while (this.taken > 0 && this.taken + bytes > Math.min(MOST_TOGETHER, this.available())) {
      await new Promise<void>((resolve) => {
        const leave = (): void => {
          this.leaving.delete(leave);
          resolve();
        };
        this.leaving.add(leave);
      });
    }
    const free = this.available();
    if (bytes > free) {
      const needed = `needs ${gigabytes(bytes)} of memory to be decoded, available ${gigabytes(free)}`;
      throw new NoRoomError(`the image ${needed}; shrink it first, or read fewer at once`);
    }
    this.taken += bytes;
  }
}

/** The room of this process. */
export const decodingRoom = new DecodingRoom();
