import { pipeline, Readable } from "node:stream";
import { createInflateRaw } from "node:zlib";
import { allocate, checkRange, reasonOf } from "./bytes.js";
import { crc32 } from "./crc32.js";
import { WeightsError } from "./errors.js";
import type { ByteSource } from "./byte-source.js";

/** Packed bytes that are read at once, and bytes that come out at once. */
const PACKED = 2 ** 18;
const UNPACKED = 2 ** 20;

/** What an archive says of deflated bytes: how many they are, how many they become, and the CRC-32 of these. */
export type Deflated = { name: string; size: number; packed: number; crc: number };

/**
 * Deflated bytes as a source that never holds them whole: reading goes on where the last read ended, and begins anew
 * for what lies before. `packedBytes` reads them. Reading throws `WeightsError` when they are damaged or become more or
 * fewer than announced, and, where the last byte is read, when the CRC-32 of all differs.
 */
export function inflatingSource(
  deflated: Deflated,
  packedBytes: (start: number, end: number) => Promise<Uint8Array>,
): ByteSource {
  const { name, size } = deflated;
  let run: InflatingRun | null = null;
  let last: Promise<unknown> = Promise.resolve();
  const readNow = async (start: number, end: number): Promise<Uint8Array> => {
    checkRange(name, size, start, end);
    if (run === null || start < run.at) {
      run?.stop();
      run = new InflatingRun(deflated, packedBytes);
    }
    try {
      return await run.take(start, end);
    } catch (error) {
      run.stop();
      run = null;
      throw error;
    }
  };
  return {
    name,
    size,
    // One after another: a read moves the place where the next goes on.
    read: (start, end) => {
      const next = last.then(() => readNow(start, end));
      last = next.catch(() => {});
      return next;
    },
    close: async () => {
      run?.stop();
      run = null;
    },
  };
}

/** One way from the first byte to the last. */
class InflatingRun {
  /** The next byte that `take` can give. */
  at = 0;
  private readonly stream: Readable;
  private readonly pieces: AsyncIterator<Uint8Array>;
  private rest: Uint8Array = new Uint8Array(0);
  private crc = 0;
  private received = 0;

  constructor(
    private readonly deflated: Deflated,
    packedBytes: (start: number, end: number) => Promise<Uint8Array>,
  ) {
    const { packed } = deflated;
    async function* input(): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < packed; at += PACKED) yield packedBytes(at, Math.min(at + PACKED, packed));
    }
    const inflate = createInflateRaw({ chunkSize: UNPACKED });
    // Errors reach whoever waits for a piece.
    pipeline(Readable.from(input()), inflate, () => {});
    this.stream = inflate;
    this.pieces = inflate[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  }

  stop(): void {
    this.stream.destroy();
  }

  async take(start: number, end: number): Promise<Uint8Array> {
    const { name, size } = this.deflated;
    const bytes = allocate(name, end - start);
    while (this.at < end) {
      if (this.rest.length === 0) this.rest = await this.next();
      const skipped = Math.min(Math.max(0, start - this.at), this.rest.length);
      const used = this.rest.subarray(skipped, Math.min(this.rest.length, end - this.at));
      bytes.set(used, Math.max(0, this.at - start));
      this.at += skipped + used.length;
      this.rest = this.rest.subarray(skipped + used.length);
    }
    if (this.at === size) await this.checkEnd();
    return bytes;
  }

  /** The next piece. Throws where there is none. */
  private async next(): Promise<Uint8Array> {
    const { name, size } = this.deflated;
    const piece = await this.more();
    if (piece === null) {
      throw new WeightsError(`${name} becomes ${this.received} bytes, the archive says ${size}; it is damaged`);
    }
    return piece;
  }

  private async more(): Promise<Uint8Array | null> {
    const { name, size } = this.deflated;
    let step: IteratorResult<Uint8Array>;
    try {
      step = await this.pieces.next();
    } catch (error) {
      if (error instanceof WeightsError) throw error;
      throw new WeightsError(`${name} cannot be unpacked to the ${size} bytes it should have (${reasonOf(error)})`);
    }
    if (step.done) return null;
    this.received += step.value.length;
    if (this.received > size)
      throw new WeightsError(`${name} becomes more than the ${size} bytes that the archive says`);
    this.crc = crc32(step.value, this.crc);
    return step.value;
  }

  private async checkEnd(): Promise<void> {
    const { name, crc } = this.deflated;
    while ((await this.more()) !== null); // an empty piece at most: more bytes would throw
    if (this.crc !== crc) throw new WeightsError(`${name} has another CRC-32 than the archive says; it is damaged`);
  }
}
