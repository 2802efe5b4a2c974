import { randomUUID } from "node:crypto";
import { open, rename, rm, type FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { MAX_PIECE, reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";

/**
 * Writes a file, part by part, beside its place, and moves it there at the end: on failure nothing is left and what was at
 * `path` stays. Throws `WeightsError` naming the path when writing fails, and as it is whatever making the parts throws.
 */
export async function writeWholeFile(
  path: string,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomUUID()}.part`);
  const making: { failed: boolean } = { failed: false };
  try {
    const handle = await open(temporary, "wx");
    try {
      for await (const part of watched(parts, making)) await writeAll(handle, part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (making.failed) throw error;
    throw new WeightsError(`${path}: cannot be written (${reasonOf(error)})`);
  }
}

async function* watched<T>(parts: Iterable<T> | AsyncIterable<T>, making: { failed: boolean }): AsyncGenerator<T> {
  making.failed = true;
  for await (const part of parts) {
    making.failed = false;
    yield part;
    making.failed = true;
  }
  making.failed = false;
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(bytes.length - at, MAX_PIECE));
    at += bytesWritten;
  }
}
