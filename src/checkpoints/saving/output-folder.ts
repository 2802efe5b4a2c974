import { renameSync, statSync } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import path from "node:path";

import { reasonOf } from "../../../weights/bytes.js";
import { INDEX, SINGLE } from "../../../weights/shard-index.js";
import { clearAbandoned, withTemporary } from "../../../weights/temporary.js";
import { InputError } from "../../base/errors.js";

/** Weights of an earlier saving, which would be read before or beside the new ones. */
export const isWeights = (file: string): boolean =>
  file === INDEX || file === SINGLE || /^model-\d{5}-of-\d{5}\.safetensors$/.test(file);

/** What may be in a folder before it is written into. */
export type FolderBefore = {
  /** Whether it may hold anything: files of the same names are then replaced, others stay. */
  overwrite: boolean;
  /** Which of the files in it are removed when the new ones are there. Default: none. */
  outdated?: (file: string) => boolean;
};

/**
 * Lets `write` fill a new folder, and moves what it has written to `target` when it is done: on failure nothing is
 * left, and what was there stays. The new folder lies in `target`, or beside it where there is none yet, and has a
 * hidden name (`withTemporary`). Throws `InputError` that names `target` where it may not or cannot be written, and
 * what `write` throws.
 */
export async function intoFolder<T>(
  target: string,
  { overwrite, outdated = () => false }: FolderBefore,
  write: (folder: string) => Promise<T>,
): Promise<T> {
  const place = path.resolve(target);
  await clearAbandoned(place);
  const there = await contents(place);
  if (there !== null && there.length > 0 && !overwrite) {
    throw new InputError(`${target}: is not empty; choose another folder, or overwrite (--overwrite)`);
  }
  const made = there === null ? place : path.join(place, "new");
  await folderFor(target, path.dirname(made));
  return withTemporary(made, async (fresh) => {
    await folderFor(target, fresh);
    const result = await write(fresh);
    if (there === null) renameSync(fresh, place);
    else await moveInto(fresh, place, there.filter(outdated));
    return result;
  });
}

async function folderFor(target: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw new InputError(`${target}: cannot be written (${reasonOf(error)}); choose another folder`);
  });
}

/** Names of what is in a folder; null where it does not exist. */
async function contents(place: string): Promise<string[] | null> {
  const info = await stat(place).catch(() => null);
  if (info === null) return null;
  if (!info.isDirectory()) throw new InputError(`${place}: expected a folder to write into, found a file`);
  return readdir(place);
}

/** All moves in one go: a signal that ends the program is heard before or after them. */
async function moveInto(fresh: string, place: string, outdated: readonly string[]): Promise<void> {
  const files = await readdir(fresh);
  for (const file of files) {
    if (!statSync(path.join(place, file), { throwIfNoEntry: false })?.isDirectory()) continue;
    throw new InputError(`${path.join(place, file)}: expected a file to replace, found a folder; move it away`);
  }
  for (const file of files) renameSync(path.join(fresh, file), path.join(place, file));
  for (const file of outdated) if (!files.includes(file)) await rm(path.join(place, file));
}
