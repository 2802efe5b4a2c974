import { InputError } from "../errors.js";

/** The indices themselves; `what` names them and `kind` says what they count. Throws `InputError` for one outside [0, count). */
export function checkIndices(
  what: string,
  indices: readonly number[],
  count: number,
  kind = "indices",
): readonly number[] {
  const wrong = indices.find((at) => !Number.isSafeInteger(at) || at < 0 || at >= count);
  if (wrong !== undefined) throw new InputError(`${what}: expected ${kind} in [0, ${count}), received ${wrong}`);
  return indices;
}
