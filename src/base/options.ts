import { described, faultOfOptions, type OptionKinds } from "../../weights/options.js";
import { InputError } from "./errors.js";

export {
  abortSignal,
  anything,
  callback,
  described,
  either,
  flag,
  list,
  listOf,
  number,
  oneOf,
  type OptionKinds,
  text,
  textOrTexts,
} from "../../weights/options.js";

/**
 * Checks the options of a public call, `where`: each is known, and of its kind. Throws `InputError` that names an
 * unknown one with the nearest known one, or the value that is of another kind.
 */
export function checkOptions<Options extends object>(
  where: string,
  options: Options,
  kinds: OptionKinds<Options>,
): Options {
  const fault = faultOfOptions(where, options, kinds);
  if (fault !== null) throw new InputError(fault);
  return options;
}

/** Throws `InputError` that begins with `where` for a path of a file or folder that is no text, or empty. */
export function requirePath(where: string, path: unknown): asserts path is string {
  if (typeof path === "string" && path !== "") return;
  throw new InputError(`${where}: expected a path, received ${described(path)}`);
}

/** A value that stands for a list of one, or the list itself, as a list. */
export const listed = <One>(value: One | readonly One[]): readonly One[] =>
  Array.isArray(value) ? (value as readonly One[]) : [value as One];

/** Keeps a promise that a callback should not have returned, and that may reject, from ending the process. */
export function ignoreRejection(result: unknown): void {
  if (result instanceof Promise) result.catch(() => {});
}

/**
 * What a callback has returned, where it is no promise. Throws `InputError` naming `where` for one, which would count
 * as any value.
 */
export function atOnce<Result>(where: string, result: Result): Result {
  if (!(result instanceof Promise)) return result;
  ignoreRejection(result);
  throw new InputError(`${where}: expected a function that returns its result, received one that returns a promise`);
}
