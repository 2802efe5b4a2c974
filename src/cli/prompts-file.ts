import { InputError } from "../base/errors.js";
import { decodeText } from "../input/tokenizer/text-encoding.js";
import { readUserFile } from "../base/user-file.js";

/** Most bytes that are read: a million prompts. */
const MAX_BYTES = 64e6;

/**
 * Prompts of a text file, UTF-8 or UTF-16 with its byte order mark, one on each line; empty lines are passed over.
 * Throws `InputError` for a file without any, and for bytes that are no such text.
 */
export async function readPrompts(file: string): Promise<string[]> {
  const bytes = await readUserFile(file, { what: "a text file with one prompt on each line", limit: MAX_BYTES });
  const prompts = decodeText(bytes, file)
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "");
  if (prompts.length > 0) return prompts;
  throw new InputError(`${file}: expected one prompt on each line, received none`);
}
