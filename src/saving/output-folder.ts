import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import path from "node:path";

import { reasonOf } from "../../weights/bytes.js";
import { INDEX, SINGLE } from "../../weights/shard-index.js";
import { InputError } from "../errors.js";

/** Weights of an earlier saving, which would be read before or beside the new ones. */
const isWeights = (file: string): boolean =>
  file === INDEX || file === SINGLE || /^model-\d{5}-of-\d{5}\.safetensors$/.test(file);

/**
 * Lets `write` fill a new folder beside `target`, and moves it there when it is done: on failure nothing is left. Where `target`
 * exists and is not empty, that takes `overwrite`: the weights in it are removed and the new files moved in one by one, others stay.
 * Throws `InputError` that names `target` where it may not or cannot be written, and what `write` throws.
 */
export async function intoFolder<T>(
  target: string,
  overwrite: boolean,
  write: (folder: string) => Promise<T>,
): Promise<T> {
  const place = path.resolve(target);
  const there = await contents(place);
  if (there.length > 0 && !overwrite) {
    throw new InputError(`${target}: is not empty; choose another folder, or overwrite (--overwrite)`);
  }
  const fresh = path.join(path.dirname(place), `.${path.basename(place)}.${randomUUID()}.part`);
  try {
    await mkdir(fresh, { recursive: true });
  } catch (error) {
    throw new InputError(`${target}: cannot be written (${reasonOf(error)})`);
  }
  try {
    const result = await write(fresh);
    if (there.length === 0) await moveWhole(fresh, place);
    else await moveInto(fresh, place, there.filter(isWeights));
    return result;
  } finally {
    await rm(fresh, { recursive: true, force: true });
  }
}

/** Names of what is in a folder; none where it does not exist. */
async function contents(place: string): Promise<string[]> {
  const info = await stat(place).catch(() => null);
  if (info === null) return [];
  if (!info.isDirectory()) throw new InputError(`${place}: expected a folder to write into, found a file`);
  return readdir(place);
}

async function moveWhole(fresh: string, place: string): Promise<void> {
  await rmdir(place).catch(() => {}); // an empty folder would be in the way on some systems
  await rename(fresh, place);
}

async function moveInto(fresh: string, place: string, outdated: readonly string[]): Promise<void> {
  for (const file of outdated) await rm(path.join(place, file));
  for (const file of await readdir(fresh)) await rename(path.join(fresh, file), path.join(place, file));
}
