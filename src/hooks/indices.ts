import { InputError } from "../base/errors.js";
import { described } from "../base/options.js";

/**
 * The indices themselves; `what` names them and `kind` says what they count. Throws `InputError` for one outside [0,
 * count), and no list.
 */
export function checkIndices(
  what: string,
  indices: readonly number[],
  count: number,
  kind = "indices",
): readonly number[] {
  if (!Array.isArray(indices))
    throw new InputError(`${what}: expected a list of ${kind}, received ${described(indices)}`);
  const wrong = indices.findIndex((at) => !Number.isSafeInteger(at) || at < 0 || at >= count);
  if (wrong >= 0) {
    throw new InputError(`${what}: expected ${kind} in [0, ${count}), received ${described(indices[wrong])}`);
  }
  return indices;
}
