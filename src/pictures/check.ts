import { InputError } from "../base/errors.js";
import { type Normalisation, NORMALISATIONS } from "./page/scale.js";

/** Throws `InputError` unless a size is a positive integer. */
export function expectSize(value: number, label: string): void {
  if (!Number.isInteger(value) || value < 1)
    throw new InputError(`${label}: expected a positive integer, got ${value}`);
}

/**
 * Throws `InputError` unless there are as many values as the shape has cells and every one is a finite number.
 * `shape` names the axes: `{ rows: 2, columns: 3 }`.
 */
export function expectValues(values: ArrayLike<number>, shape: Readonly<Record<string, number>>, label: string): void {
  for (const [axis, size] of Object.entries(shape)) expectSize(size, `${label}, ${axis}`);
  const expected = Object.values(shape).reduce((product, size) => product * size, 1);
  if (values.length !== expected) {
    const axes = Object.entries(shape).map(([axis, size]) => `${size} ${axis}`);
    throw new InputError(`${label}: expected ${axes.join(" x ")} = ${expected} values, got ${values.length}`);
  }
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) {
      throw new InputError(`${label}: expected finite numbers, got ${values[i]} at index ${i}`);
    }
  }
}

/** Throws `InputError` for an unknown normalisation, and for values below 0 where it has no meaning for them. */
export function expectNormalisation(how: Normalisation, maps: readonly ArrayLike<number>[], label: string): void {
  if (!NORMALISATIONS.includes(how)) {
    throw new InputError(`${label}.normalisation: expected one of ${NORMALISATIONS.join(", ")}, got ${String(how)}`);
  }
  if (how === "raw" || how === "min-max") return;
  if (maps.some((map) => Array.prototype.some.call(map, (value: number) => value < 0))) {
    throw new InputError(`${label}: values below 0 can be drawn "raw" or "min-max", not "${how}"`);
  }
}
