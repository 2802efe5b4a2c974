import { readdir, realpath, stat } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../../base/errors.js";

/** Files that are read: what messages call them, and their paths, which need not exist. */
export type Read = { name: string; files: readonly string[] };

/**
 * What is written: what messages call it, and the path of a file, or of a folder with the names of the files that may
 * be written there.
 */
export type Written = { name: string; path: string; holds?: ((file: string) => boolean) | undefined };

/**
 * Throws `InputError` that names both, where what is written is a file that is read, or is written twice: also by
 * another name of it, through a link, or as a file of a folder. To be asked before anything is computed or written.
 */
export async function requireApart(written: readonly Written[], read: readonly Read[]): Promise<void> {
  const taken = new Map<string, string>();
  const take = async (file: string, name: string): Promise<void> => {
    for (const mark of await marksOf(file)) taken.set(mark, `${name} ${file}`);
  };
  for (const { name, files } of read) for (const file of files) await take(file, name);
  // Folders last: what a command writes as a file may lie in a folder that it writes.
  for (const one of [...written].sort((a, b) => Number(Boolean(a.holds)) - Number(Boolean(b.holds)))) {
    const marks = one.holds ? await marksWithin(one.path, one.holds, taken.keys()) : await marksOf(one.path);
    const other = marks.map((mark) => taken.get(mark)).find((owner) => owner !== undefined);
    if (other !== undefined) {
      const written = `${one.name} ${one.path}`;
      throw new InputError(`${written}: expected another file than ${other}, which would be lost; name another place`);
    }
    if (!one.holds) await take(one.path, one.name);
  }
}

/**
 * What a file is known by: the path with every link in it followed, and, where it is there, its device and number,
 * which all its names share.
 */
async function marksOf(file: string): Promise<string[]> {
  const found = await stat(file, { bigint: true }).catch(() => null);
  if (found === null) return [await realPlace(file)];
  // A device or a pipe is no worse for being written into.
  return found.isFile() ? [await realPlace(file), `${found.dev}:${found.ino}`] : [];
}

/**
 * The marks of what may be written in a folder: of files that are there, and those of `paths` that lie in it, there or
 * not.
 */
async function marksWithin(
  folder: string,
  holds: (file: string) => boolean,
  paths: Iterable<string>,
): Promise<string[]> {
  const names = (await readdir(folder).catch(() => [])).filter(holds);
  const there = await Promise.all(names.map((name) => marksOf(path.join(folder, name))));
  const place = await realPlace(folder);
  const inside = [...paths].filter((mark) => path.dirname(mark) === place && holds(path.basename(mark)));
  return [...there.flat(), ...inside];
}

/** The path of what need not be there yet: its folder's real one. */
const realPlace = (file: string): Promise<string> =>
  realpath(file).catch(async () => {
    const folder = path.dirname(path.resolve(file));
    return path.join(await realpath(folder).catch(() => folder), path.basename(file));
  });
