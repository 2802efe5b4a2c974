import { stat, writeFile } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../errors.js";

/**
 * Checks the value of `--out` before anything is computed. Throws `InputError` unless the file's ending is one of `endings` (".png") and
 * its folder is there.
 */
export async function requireOutput(file: string, endings: readonly string[]): Promise<void> {
  if (!endings.includes(path.extname(file).toLowerCase())) {
    throw new InputError(`--out ${file}: expected a file that ends in ${endings.join(" or ")}`);
  }
  const folder = path.dirname(file);
  const found = await stat(folder).catch(() => null);
  if (!found?.isDirectory()) throw new InputError(`--out ${file}: there is no folder ${folder}; make it first`);
}

/** Writes a file that `requireOutput` has checked. Throws `InputError` where the system refuses it. */
export async function writeOutput(file: string, content: string | Uint8Array): Promise<void> {
  try {
    await writeFile(file, content);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new InputError(`--out ${file}: cannot be written (${reason}); name another file`, { cause: error });
  }
}
