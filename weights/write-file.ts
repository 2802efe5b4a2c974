import { access, constants, type FileHandle, lstat, open, readlink, realpath, rename, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { MAX_PIECE, reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";
import { withTemporary } from "./temporary.js";

type Parts = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Writes a file, part by part, as `replaceFile` does: on failure nothing is left and what was at `path` stays. Throws
 * `WeightsError` naming the path when writing fails, and as it is whatever making the parts throws.
 */
export async function writeWholeFile(path: string, parts: Parts): Promise<void> {
  const making: { failed: boolean } = { failed: false };
  try {
    await replaceFile(path, watched(parts, making));
  } catch (error) {
    if (making.failed) throw error;
    throw new WeightsError(`${path}: cannot be written (${reasonOf(error)})`);
  }
}

/**
 * Writes a file, part by part, beside its place, and moves it there once it is on the disk: completely or not at all. A
 * link stays, and what it leads to is replaced; permissions of an earlier file are kept. What is no regular file (a
 * device, a pipe) is written into. Throws what the system throws, and what making the parts throws.
 */
export async function replaceFile(path: string, parts: Parts): Promise<void> {
  const place = await finalPlace(resolve(path));
  const before = place === null ? null : await stat(place).catch(ifMissing);
  if (place === null || (before && !before.isFile() && !before.isDirectory())) return writeInto(path, parts);
  if (before?.isDirectory()) throw Object.assign(new Error(`${path} is a folder`), { code: "EISDIR" });
  if (before) await access(place, constants.W_OK); // a move asks the folder alone
  await withTemporary(place, async (temporary) => {
    const handle = await open(temporary, "wx");
    try {
      if (before) await likeBefore(handle, before);
      for await (const part of parts) await writeAll(handle, part);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, place);
    await syncFolder(dirname(place));
  });
}

/** Most links that lead to one another. Source: Linux, include/linux/namei.h, MAXSYMLINKS. */
const MAX_LINKS = 40;

/**
 * What a path leads to, which need not be there; null for one that a process has open, where a move would put another
 * file.
 */
async function finalPlace(path: string): Promise<string | null> {
  for (let place = path, links = 0; links < MAX_LINKS; links++) {
    if (/^\/(proc\/[^/]+|dev)\/fd\//.test(place)) return null;
    const folder = await realpath(dirname(place));
    place = join(folder, basename(place));
    if (!(await lstat(place).catch(ifMissing))?.isSymbolicLink()) return place;
    place = resolve(folder, await readlink(place));
  }
  throw Object.assign(new Error(`${path}: too many links`), { code: "ELOOP" });
}

function ifMissing(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

async function likeBefore(handle: FileHandle, { mode, uid, gid }: { mode: number; uid: number; gid: number }) {
  const fresh = await handle.stat();
  // Only the system's user may give a file away; the permissions come after, for that takes some back.
  if (fresh.uid !== uid || fresh.gid !== gid) await handle.chown(uid, gid).catch(() => {});
  await handle.chmod(mode & 0o7777);
}

async function writeInto(path: string, parts: Parts): Promise<void> {
  const handle = await open(path, "w");
  try {
    for await (const part of parts) await writeAll(handle, part);
  } finally {
    await handle.close();
  }
}

/** Makes a move last; some file systems and systems cannot, and are not asked twice. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  await handle?.sync().catch(() => {});
  await handle?.close();
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
