import type { Checkpoint } from "../../../weights/checkpoint.js";
import { findWeights, type WeightForm } from "../../../weights/find-weights.js";
import { type Layout, LAYOUTS, spelled } from "../../../weights/spellings.js";
import type { Folder } from "../../../weights/byte-source.js";

/** The form of the weight files, the files, and how their tensors are spelled. */
export type NamesLayout = {
  form: WeightForm;
  files: string[];
  /** `Layout` of safetensors; null where names are of several layouts at once, or the form has names of its own. */
  names: Layout | null;
  /** What stands in front of all names besides, such as PEFT's "base_model.model."; "" for nothing. */
  prefix: string;
};

/** How a folder names its tensors. */
export async function layoutOf(
  folder: Folder,
  { entries, head }: Pick<Checkpoint, "entries" | "head">,
): Promise<NamesLayout> {
  const form = (await findWeights(folder))?.form ?? "safetensors";
  const files = [...new Set([...entries.values()].map(({ file }) => file))].sort();
  const own = { form, files, names: null, prefix: "" };
  if (form !== "safetensors") return own;
  for (const layout of LAYOUTS) {
    const prefix = commonPrefix(
      [...entries].map(([name, entry]) => [entry.name, spelled(name, layout, head !== "own")]),
    );
    if (prefix !== null) return { form, files, names: layout, prefix };
  }
  return own;
}

/** The text before every name, where behind it each is as it should be; null where one is not. */
function commonPrefix(names: readonly (readonly [written: string, expected: string])[]): string | null {
  const prefixes = new Set(
    names.map(([written, expected]) => (written.endsWith(expected) ? written.slice(0, -expected.length) : null)),
  );
  const [first] = prefixes;
  return prefixes.size === 1 && first !== undefined ? first : null;
}
