import { InputError } from "../errors.js";
import { readUserFile } from "../user-file.js";

/** Most bytes that are read: a million prompts. */
const MAX_BYTES = 64e6;

/** Prompts of a text file, one on each line; empty lines are passed over. Throws `InputError` for a file without any. */
export async function readPrompts(file: string): Promise<string[]> {
  const bytes = await readUserFile(file, { what: "a text file with one prompt on each line", limit: MAX_BYTES });
  const prompts = Buffer.from(bytes)
    .toString("utf8")
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "");
  if (prompts.length > 0) return prompts;
  throw new InputError(`${file}: expected one prompt on each line, received none`);
}
