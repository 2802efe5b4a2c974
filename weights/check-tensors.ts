import { type CheckpointEntry, sameShape } from "./checkpoint-entry.js";
import { isFloat } from "./dtype.js";
import { WeightsError } from "./errors.js";
import { whatItIs } from "./foreign-tensors.js";

const UNKNOWN = "Check that the weights and config.json belong together and that the download is complete.";

/** Names that one error lists of each kind: enough to see the pattern, short enough to read. */
const LISTED = 20;

/**
 * Compares names, shapes and types of a checkpoint's tensors with what the model needs: canonical name -> shape. Throws
 * one `WeightsError` naming `where` that lists missing, unexpected and misshapen tensors and those that are no F32, F16
 * or BF16.
 */
export function checkTensors(
  entries: ReadonlyMap<string, CheckpointEntry>,
  expected: ReadonlyMap<string, readonly number[]>,
  where: string,
): void {
  const missing = [...expected.keys()].filter((name) => !entries.has(name));
  const unexpected: string[] = [];
  const misshapen: string[] = [];
  const mistyped: string[] = [];
  for (const [name, { name: spelled, shape, dtype }] of entries) {
    const wanted = expected.get(name);
    if (!wanted) {
      unexpected.push(spelled === name ? name : `${name} (in the file "${spelled}")`);
      continue;
    }
    if (!sameShape(shape, wanted)) misshapen.push(`${name} is [${shape}], expected [${wanted}]`);
    if (!isFloat(dtype)) mistyped.push(`${name} is ${dtype}, expected F32, F16 or BF16`);
  }
  const lists = [listed("missing", missing), listed("unexpected", unexpected), listed("misshapen", misshapen)];
  const faults = [...lists, listed("of a type that is not read", mistyped)].filter((text) => text !== "");
  if (faults.length === 0) return;
  const advice =
    whatItIs(
      [...entries.keys()].filter((name) => !expected.has(name)),
      missing,
    ) ?? UNKNOWN;
  throw new WeightsError(`${where}: the weights are not those of this model.\n${faults.join("\n")}\n${advice}`);
}

function listed(kind: string, names: string[]): string {
  if (names.length === 0) return "";
  const some = names.length > LISTED ? [...names.slice(0, LISTED), `and ${names.length - LISTED} more`] : names;
  return `  ${kind} (${names.length}): ${some.join(", ")}`;
}
