import { closeSync, constants, fstatSync, openSync, type BigIntStats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

import { joinBytes } from "./bytes.js";

/** Without it opening a pipe waits until something writes to it. */
const FLAGS = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/** Bytes asked of a file at once where its whole is read. */
const PIECE = 2 ** 20;

/** A path that leads to something else than a regular file: reading it may never end. */
export class NotAFileError extends Error {
  /** `kind`: what it is, such as "a folder". */
  constructor(readonly kind: string) {
    super(`expected a regular file, received ${kind}`);
  }
}

/** A file that holds more bytes than are read. */
export class FileTooLongError extends Error {
  constructor(readonly limit: number) {
    super(`expected at most ${limit} bytes, received more`);
  }
}

/** Whether an error of the file system says that there is nothing at a path. */
export const isMissing = (error: unknown): boolean => hasCode(error, "ENOENT", "ENOTDIR");

/** Whether an error of the file system says that this user may not read a path. */
export const isForbidden = (error: unknown): boolean => hasCode(error, "EACCES", "EPERM");

const hasCode = (error: unknown, ...codes: string[]): boolean =>
  codes.includes((error as NodeJS.ErrnoException | null)?.code ?? "");

/** A regular file that is open, and what the system says of it. */
export type PlainFile = { handle: FileHandle; info: BigIntStats };

/**
 * Opens a regular file, through links, for reading; the caller closes it. Throws `NotAFileError`, and what `open` of
 * Node throws.
 */
export async function openPlain(path: string): Promise<PlainFile> {
  const handle = await open(path, FLAGS);
  try {
    const info = await handle.stat({ bigint: true });
    requirePlain(info);
    return { handle, info };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** The same for a program that reads with `readSync`; the caller closes the descriptor. */
export function openPlainSync(path: string): { descriptor: number; info: BigIntStats } {
  const descriptor = openSync(path, FLAGS);
  try {
    const info = fstatSync(descriptor, { bigint: true });
    requirePlain(info);
    return { descriptor, info };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/**
 * All bytes of a regular file, at most `limit`, also where it grows while it is read or gives its size as 0 as those of
 * /proc do. Throws what `openPlain` throws, and `FileTooLongError`.
 */
export async function readPlain(path: string, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  const { handle, info } = await openPlain(path);
  try {
    if (info.size > BigInt(limit)) throw new FileTooLongError(limit);
    const parts: Uint8Array[] = [];
    for (let length = 0; ;) {
      // One byte more than the file should have tells that it ended.
      const left = Number(info.size) - length;
      const piece = new Uint8Array(left < 0 ? PIECE : Math.min(left + 1, PIECE));
      const { bytesRead } = await handle.read(piece, 0, piece.length, null);
      if (bytesRead === 0) return joinBytes(path, parts);
      parts.push(piece.subarray(0, bytesRead));
      length += bytesRead;
      if (length > limit) throw new FileTooLongError(limit);
    }
  } finally {
    await handle.close();
  }
}

/** Most bytes of a note: a name, a hash, who holds a lock. */
const NOTE = 2 ** 16;

/** The text of a small regular file of a program's own, at most 64 KiB. Throws as `readPlain` does. */
export const readNote = async (path: string): Promise<string> =>
  Buffer.from(await readPlain(path, NOTE)).toString("utf8");

function requirePlain(info: BigIntStats): void {
  if (info.isFile()) return;
  const kinds: [boolean, string][] = [
    [info.isDirectory(), "a folder"],
    [info.isFIFO(), "a pipe"],
    [info.isSocket(), "a socket"],
    [info.isCharacterDevice() || info.isBlockDevice(), "a device"],
  ];
  throw new NotAFileError(kinds.find(([is]) => is)?.[1] ?? "something else");
}
