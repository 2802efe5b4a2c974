import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { isOfEnded, markName, thisProcess } from "./process-mark.js";

/**
 * Longest part of a name that is kept: with the mark of the process it stays below the 255 bytes that file systems
 * take.
 */
const MAX_KEPT = 120;

/** What is being made by this process, a file or a folder each. */
const made = new Set<string>();

/** Hears that something is being made now, or nothing any more. */
export type MakingListener = (making: boolean) => void;
const listeners: MakingListener[] = [
  (making) => void (making ? process.on("exit", removeTemporaries) : process.off("exit", removeTemporaries)),
];

/** Lets a program hear when this process begins to make something, and when all of it is done. */
export const onMaking = (listener: MakingListener): void => void listeners.push(listener);

const tell = (making: boolean): void => listeners.forEach((listener) => listener(making));

/** A hidden name beside `path`: what it becomes, which process makes it, and which of those of that process it is. */
function nameBeside(path: string): string {
  const kept = Buffer.from(basename(path)).subarray(0, MAX_KEPT).toString().replaceAll("\uFFFD", "");
  return join(dirname(path), `.${kept}.part-${markName(thisProcess())}.${randomBytes(4).toString("hex")}`);
}

/** Such a name, with its mark. */
const NAME = /^\..*\.part-(\d+-\w+-[0-9a-f]{8})\.[0-9a-f]{8}$/s;

/**
 * Lets `make` create a file or folder with a hidden name beside `path`, on the same file system, and removes what is
 * left there at its end, however it ends: also with `process.exit` and, where `removeTemporaries` is called, with a
 * signal. What processes that were killed have left in that folder is removed first; what a living process makes is
 * left alone. The hidden name holds the process's mark.
 */
export async function withTemporary<T>(path: string, make: (temporary: string) => Promise<T>): Promise<T> {
  await clearAbandoned(dirname(path));
  const temporary = nameBeside(path);
  made.add(temporary);
  if (made.size === 1) tell(true);
  try {
    return await make(temporary);
  } finally {
    await rm(temporary, { recursive: true, force: true }).catch(() => {});
    made.delete(temporary);
    if (made.size === 0) tell(false);
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

/** Removes what processes that have ended were making in a folder. Never throws: what cannot be removed stays. */
export async function clearAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const mark = NAME.exec(name)?.[1];
    if (mark === undefined || !isOfEnded(mark)) continue;
    await rm(join(folder, name), { recursive: true, force: true }).catch(() => {});
  }
}
