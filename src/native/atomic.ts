import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";

import { list } from "./layout.js";

/**
 * Makes a folder completely or not at all: `fill` works in a folder beside it, which takes the place of `folder` by a rename
 * when it is done. An older `folder` stays until then, and for ever if `fill` throws. What an interrupted run left is cleared.
 */
export async function atomically(folder: string, fill: (partial: string) => Promise<void>): Promise<void> {
  await clearAbandoned(folder);
  const partial = `${folder}.partial-${process.pid}`;
  await mkdir(partial, { recursive: true });
  try {
    await fill(partial);
    const old = `${partial}.old`;
    await rename(folder, old).catch(ignoreAbsent);
    await rename(partial, folder).catch((error: unknown) => {
      // Another process that did the same work was faster; its folder is as good.
      if (!existsSync(folder)) throw error;
    });
    await rm(old, { recursive: true, force: true });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

function ignoreAbsent(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

/** Removes the partial folders beside `folder` of processes that are gone: an unpacked wheel takes most of a gigabyte. */
export async function clearAbandoned(folder: string): Promise<void> {
  const prefix = `${path.basename(folder)}.partial-`;
  for (const name of list(path.dirname(folder)).filter((one) => one.startsWith(prefix))) {
    const pid = Number.parseInt(name.slice(prefix.length), 10);
    if (pid !== process.pid && isAlive(pid)) continue;
    await rm(path.join(path.dirname(folder), name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
