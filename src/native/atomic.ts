import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";

import { list } from "./layout.js";

/**
 * Makes a folder completely or not at all: `fill` works in a folder beside it, which is renamed into place when it is
 * done. What an interrupted run left is cleared; when another process was faster, its folder stays and ours goes.
 */
export async function atomically(folder: string, fill: (partial: string) => Promise<void>): Promise<void> {
  await clearAbandoned(folder);
  const partial = `${folder}.partial-${process.pid}`;
  await mkdir(partial, { recursive: true });
  try {
    await fill(partial);
    await rename(partial, folder).catch((error: unknown) => {
      if (!existsSync(folder)) throw error;
    });
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/** Removes the partial folders of processes that are gone: an unpacked wheel takes most of a gigabyte. */
async function clearAbandoned(folder: string): Promise<void> {
  const prefix = `${path.basename(folder)}.partial-`;
  for (const name of list(path.dirname(folder)).filter((one) => one.startsWith(prefix))) {
    const pid = Number(name.slice(prefix.length));
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
