import { WeightsError } from "./errors.js";

/**
 * The steps of a relative file name. An index or a listing comes from outside: throws `WeightsError` naming `folder`
 * for a name that could leave it, on any system.
 */
export function safeSegments(folder: string, file: string): string[] {
  const segments = file.split("/");
  const odd = segments.some((segment) => segment === "" || segment === "." || segment === "..");
  // A colon would be a URL scheme, a drive or a stream of a file; a backslash is a separator on one system and not on
  // others.
  // eslint-disable-next-line no-control-regex
  if (odd || /[\\:\u0000-\u001f]/.test(file)) {
    throw new WeightsError(
      `${folder}: the file name ${JSON.stringify(file)} does not stay in the folder; it is not opened`,
    );
  }
  return segments;
}
