import { strict as assert } from "node:assert";
import { cpSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

import { packageRoot } from "../../src/base/package-root.js";

/** One planted mistake: `find` stands exactly once in `file`. */
export type Planted = { file: string; find: string; replace: string };

// Inside the checkout, so that the copies find the same node_modules, and with them the same TensorFlow.js engine. A
// folder of this process's own: another file's tests may run beside these.
const mutants = path.join(packageRoot(), ".mutants", String(process.pid));

/**
 * Copies the source, plants the mistake in one file of the copy, and returns a function that imports from the copy's
 * `src`.
 */
export function plant({ file, find, replace }: Planted, id: string): <Module>(name: string) => Promise<Module> {
  const folder = path.join(mutants, id);
  for (const part of ["layers", "src", "weights"]) copySources(path.join(packageRoot(), part), path.join(folder, part));
  const text = readFileSync(path.join(packageRoot(), file), "utf8");
  const places = text.split(find).length - 1;
  assert.equal(places, 1, `the text to mutate stands ${places} times in ${file}: ${find}`);
  // A function as replacement: "$" in the text must stay what it is.
  writeFileSync(
    path.join(folder, file),
    text.replace(find, () => replace),
  );
  return async <Module>(name: string) =>
    (await import(pathToFileURL(path.join(folder, "src", name)).href)) as unknown as Module;
}

/** Removes every copy that this process has made. */
export const removeMutants = (): void => rmSync(mutants, { recursive: true, force: true });

function copySources(from: string, to: string): void {
  cpSync(from, to, { recursive: true, filter: (file) => statSync(file).isDirectory() || /\.[jt]s$/.test(file) });
}
