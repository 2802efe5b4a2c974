import { InputError } from "../../base/errors.js";

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
};

/**
 * Bytes of a size such as "5GB", "500MB", "2GiB" (units of 1000 and of 1024) or a number. Throws `InputError` naming
 * `name`.
 */
export function parseSize(name: string, size: string | number): number {
  const [, digits, unit] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(String(size)) ?? [];
  const bytes = digits === undefined ? NaN : Math.floor(Number(digits) * (UNITS[unit.toUpperCase()] ?? NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InputError(`${name}: expected a size such as "5GB", "500MB" or "2GiB", received ${JSON.stringify(size)}`);
}
