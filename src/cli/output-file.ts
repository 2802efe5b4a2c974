import { replaceFile } from "../../weights/write-file.js";
import { InputError } from "../base/errors.js";

/**
 * Writes a file completely or not at all: what was there stays where that fails. Throws `InputError` where the system
 * refuses it.
 */
export async function writeOutput(file: string, content: string | Uint8Array): Promise<void> {
  try {
    await replaceFile(file, [typeof content === "string" ? Buffer.from(content) : content]);
  } catch (error) {
    const reason = (error as NodeJS.ErrnoException).code ?? String(error);
    throw new InputError(`--out ${file}: cannot be written (${reason}); name another file`, { cause: error });
  }
}
