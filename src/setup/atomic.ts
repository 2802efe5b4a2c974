import { existsSync, renameSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";

import { withTemporary } from "../../weights/temporary.js";

/**
 * Makes a folder completely or not at all: `fill` works in a hidden folder beside it (`withTemporary`), which takes the
 * place of `folder` when it is done. An older `folder` stays until then, and for ever if `fill` throws.
 */
export async function atomically(folder: string, fill: (partial: string) => Promise<void>): Promise<void> {
  await mkdir(path.dirname(folder), { recursive: true });
  await withTemporary(folder, (partial) =>
    withTemporary(folder, async (old) => {
      await mkdir(partial);
      await fill(partial);
      takePlace(partial, folder, old);
    }),
  );
}

/** All moves in one go: a signal that ends the program is heard before or after them. */
function takePlace(partial: string, folder: string, old: string): void {
  const replaces = existsSync(folder);
  if (replaces) renameSync(folder, old);
  try {
    renameSync(partial, folder);
  } catch (error) {
    // Another process that did the same work was faster; its folder is as good.
    if (existsSync(folder)) return;
    if (replaces) renameSync(old, folder);
    throw error;
  }
}
