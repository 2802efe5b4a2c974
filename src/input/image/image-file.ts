import { FileTooLongError, isForbidden, isMissing, NotAFileError, readPlain } from "../../../weights/plain-file.js";
import { InputError } from "../../base/errors.js";

/** A file larger than this is not read; no picture within `MAX_IMAGE_PIXELS` needs as much. */
export const MAX_IMAGE_FILE_BYTES = 2 ** 30;

/**
 * The bytes of a file; `name` stands for its path in errors. Throws `InputError` that says what is wrong with the path.
 */
export async function readImageFile(path: string, name: string): Promise<Uint8Array> {
  try {
    return await readPlain(path, MAX_IMAGE_FILE_BYTES);
  } catch (error) {
    throw new InputError(`${name}: ${readFailure(path, error)}`, { cause: error });
  }
}

/** Whether text is base64 and no path. */
export const isBase64 = (text: string): boolean => /^[A-Za-z0-9+/_\s-]{200,}={0,2}\s*$/.test(text);

// The message of the file system holds the path, however long.
function readFailure(path: string, error: unknown): string {
  if (isBase64(path)) return 'this is base64 and no path; write "data:image/png;base64," before it, or give its bytes';
  if (error instanceof NotAFileError) {
    const advice = error.kind === "a folder" ? "name a file in it" : "save it as a regular file and name that";
    return `this is ${error.kind}, not an image file; ${advice}`;
  }
  if (error instanceof FileTooLongError) {
    return `the file has more than the ${error.limit} bytes that are read as an image; shrink it first`;
  }
  if (isMissing(error)) return "there is no such image file; check the path";
  if (isForbidden(error)) return "the image file may not be read; check its permissions";
  const { code = "unknown reason" } = error as NodeJS.ErrnoException;
  if (code === "ENAMETOOLONG" || code === "ERR_INVALID_ARG_VALUE") {
    return "this is no path of an image file; give a path, or the bytes of the file";
  }
  return `the image file cannot be read (${code})`;
}
