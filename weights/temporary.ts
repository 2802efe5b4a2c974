import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isOfEnded, markName, thisProcess } from "./process-mark.js";

/** Longest part of a name that is kept: with the mark of the process it stays below the 255 bytes that file systems take. */
const MAX_KEPT = 120;

/** What is being made by this process, a file or a folder each. */
const made = new Set<string>();

/** What the names of everything that becomes `path` begin with. */
const beginning = (path: string): string => {
  const kept = Buffer.from(basename(path)).subarray(0, MAX_KEPT).toString().replaceAll("\uFFFD", "");
  return `.${kept}.part-`;
};

/**
 * Lets `make` create a file or folder with a hidden name beside `path`, on the same file system, and removes what is left there at its end, however
 * it ends: also with `process.exit` and, where `removeTemporaries` is called, with a signal. What processes that were killed have left for
 * the same `path` is removed first; what a living process makes is left alone. The hidden name holds the process's mark.
 */
export async function withTemporary<T>(path: string, make: (temporary: string) => Promise<T>): Promise<T> {
  await clearAbandoned(path);
  const random = randomBytes(4).toString("hex");
  const temporary = join(dirname(path), `${beginning(path)}${markName(thisProcess())}.${random}`);
  if (made.size === 0) process.on("exit", removeTemporaries);
  made.add(temporary);
  try {
    return await make(temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    made.delete(temporary);
    if (made.size === 0) process.off("exit", removeTemporaries);
  }
}

/** Removes what this process is making, at once: for its last moment. */
export function removeTemporaries(): void {
  for (const temporary of made) {
    try {
      rmSync(temporary, { recursive: true, force: true });
    } catch {
      // The next process that makes the same thing removes it.
    }
  }
}

/** Removes what processes that have ended left of making `path`. Never throws: what cannot be removed is in nobody's way. */
export async function clearAbandoned(path: string): Promise<void> {
  const start = beginning(path);
  for (const name of await readdir(dirname(path)).catch(() => [])) {
    if (!name.startsWith(start) || !isOfEnded(name.slice(start.length))) continue;
    await rm(join(dirname(path), name), { recursive: true, force: true }).catch(() => {});
  }
}
