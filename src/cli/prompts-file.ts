import { readFile } from "node:fs/promises";

import { InputError } from "../errors.js";

/** Prompts of a text file, one on each line; empty lines are passed over. Throws `InputError` for a file without any. */
export async function readPrompts(file: string): Promise<string[]> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new InputError(`${file}: the prompts cannot be read (${reason}); name a text file with one on each line`, {
      cause: error,
    });
  }
  const prompts = text
    .replace(/^\uFEFF/, "")
    .split(/\r?\n/)
    .filter((line) => line.trim() !== "");
  if (prompts.length > 0) return prompts;
  throw new InputError(`${file}: expected one prompt on each line, received none`);
}
