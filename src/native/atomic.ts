import { existsSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";

/**
 * Makes a folder completely or not at all: `fill` works in a folder beside it, which is renamed into place when it is
 * done. What an interrupted run left is cleared; when another process was faster, its folder stays and ours goes.
 */
export async function atomically(folder: string, fill: (partial: string) => Promise<void>): Promise<void> {
  const partial = `${folder}.partial-${process.pid}`;
  await rm(partial, { recursive: true, force: true });
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

/** The folder of a partial folder of `atomically`: where its content will lie in the end. */
export const finalFolder = (partial: string): string => partial.replace(/\.partial-\d+$/, "");

/** `to` as seen from the folder of the link `at`, so that links survive a rename of a folder that holds neither of them. */
export const relativeLink = (at: string, to: string): string => path.relative(path.dirname(at), to);
