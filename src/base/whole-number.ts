import { InputError } from "./errors.js";

/** Throws `InputError` unless the value is a whole number, at least `least`. */
export function requireWhole(name: string, value: number, least: number): void {
  if (Number.isSafeInteger(value) && value >= least) return;
  throw new InputError(`${name}: expected a whole number >= ${least}, received ${String(value)}`);
}
