import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";

import { InputError } from "../base/errors.js";

/** A line that is longer than this, in bytes, is not kept: paths and a prompt need a thousandth of it. */
export const MAX_LINE_BYTES = 2 ** 20;

/** One line of a file. */
export type FileLine = {
  /** From 1. */
  number: number;
  /** Without its line break; null where it is longer than `MAX_LINE_BYTES`. */
  bytes: Buffer | null;
  /** Where the next line begins in the file (as it is recoded), in bytes. */
  end: number;
  /** Whether a line break ends it: the last line may have none. */
  complete: boolean;
};

const LINE_FEED = 0x0a;

/**
 * The lines of a file, or of its first `size` bytes, one at a time; what is held is one line and one block of the file.
 * `recoded` may change the file's blocks before they are parted. Throws `InputError` where it cannot be read.
 */
export async function* readLines(
  file: string,
  size = Infinity,
  recoded: (blocks: AsyncIterable<Buffer>) => AsyncIterable<Buffer> = (blocks) => blocks,
): AsyncGenerator<FileLine, void, void> {
  let [number, end, length] = [1, 0, 0];
  let pieces: Buffer[] = [];
  const line = (complete: boolean): FileLine => {
    const bytes = length > MAX_LINE_BYTES ? null : Buffer.concat(pieces);
    return { number, bytes, end, complete };
  };
  for await (const block of recoded(blocksOf(file, size))) {
    for (let from = 0; ;) {
      const found = block.indexOf(LINE_FEED, from);
      const to = found < 0 ? block.length : found;
      length += to - from;
      end += to - from;
      if (length <= MAX_LINE_BYTES) pieces.push(block.subarray(from, to));
      else pieces = [];
      if (found < 0) break;
      end++;
      yield line(true);
      [number, length, pieces] = [number + 1, 0, []];
      from = found + 1;
    }
  }
  if (length > 0) yield line(false);
}

async function* blocksOf(file: string, size: number): AsyncGenerator<Buffer, void, void> {
  if (size === 0) return;
  try {
    yield* createReadStream(file, { end: size - 1 }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw cannotBeRead(file, error);
  }
}

/** The size of a file in bytes. Throws `InputError` for what is absent, or no file that can be read twice. */
export async function sizeOfFile(file: string): Promise<number> {
  const found = await stat(file).catch((error: unknown) => {
    throw cannotBeRead(file, error);
  });
  if (found.isFile()) return found.size;
  throw new InputError(`${file}: expected a regular file, which can be read more than once; save it as one first`);
}

function cannotBeRead(file: string, error: unknown): InputError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error);
  return new InputError(`${file}: cannot be read (${reason}); name a file with one JSON object on each line`, {
    cause: error,
  });
}
