import { FileTooLongError, isForbidden, isMissing, NotAFileError, readPlain } from "../../weights/plain-file.js";
import { InputError } from "./errors.js";

/** What a file that a user named is to be, as its errors say it. */
export type Wanted = {
  /** Such as "a text file with one prompt on each line". */
  what: string;
  /** Most bytes that are read. */
  limit: number;
  /** What errors call the place; default the path. */
  where?: string;
};

/**
 * All bytes of a regular file that a user named. Throws `InputError` for one that is absent, not to be read, a folder,
 * a pipe or a device, which may have no end, or longer than `limit`; its cause is the system's error.
 */
export async function readUserFile(
  path: string,
  { what, limit, where = path }: Wanted,
): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await readPlain(path, limit);
  } catch (error) {
    throw new InputError(`${where}: expected ${what}, ${failure(error)}`, { cause: error });
  }
}

function failure(error: unknown): string {
  if (error instanceof NotAFileError) return `received ${error.kind}; save it as a regular file and name that`;
  if (error instanceof FileTooLongError) return `received more than the ${error.limit} bytes that are read; shorten it`;
  if (isMissing(error)) return "and there is no such file; check the path";
  if (isForbidden(error)) return "and it may not be read; check its permissions";
  return `and it cannot be read (${error instanceof Error ? error.message : String(error)})`;
}
