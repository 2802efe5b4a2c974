import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

import { atomically } from "./atomic.js";
import { nativePackage, TFJS_NODE_VERSION, type NativeLayout } from "../backends/native/layout.js";
import { commandFailed, npmCommand } from "./tools.js";
import type { Run } from "../backends/native/process.js";

/** The packages of TensorFlow.js that tfjs-node requires; both are answered by the project's own TensorFlow.js. */
const SHARED = ["@tensorflow/tfjs", "@tensorflow/tfjs-core"];

const SHIM = `// The TensorFlow.js of the program that loads this folder, not a second one.
const shared = globalThis[Symbol.for("paligemma-tfjs.shared-tfjs")];
if (!shared) throw new Error("this folder belongs to paligemma-tfjs and is loaded by it only");
module.exports = shared;
`;

/**
 * Installs the npm package (checked by npm against the registry's hashes) into a folder of its own, without running its
 * install script and without its copy of TensorFlow.js: two stand-ins in its place hand on the one that the loader
 * names. Returns whether it had to; false when it was there already and `force` does not ask for it anew.
 */
export async function installPackage(
  { layout, gpu, force }: { layout: NativeLayout; gpu: boolean; force?: boolean },
  run: Run,
): Promise<boolean> {
  if (existsSync(layout.pristine) && !force) return false;
  const name = nativePackage(gpu);
  await atomically(layout.pristine, async (partial) => {
    const dependencies: Record<string, string> = { [name]: TFJS_NODE_VERSION };
    for (const shared of SHARED) {
      const folder = path.join("stand-in", path.basename(shared));
      dependencies[shared] = `file:./${folder.replaceAll("\\", "/")}`;
      await mkdir(path.join(partial, folder), { recursive: true });
      await writeJson(path.join(partial, folder, "package.json"), { name: shared, version: TFJS_NODE_VERSION });
      await writeFile(path.join(partial, folder, "index.js"), SHIM);
    }
    await writeJson(path.join(partial, "package.json"), { private: true, dependencies });
    const flags = ["--ignore-scripts", "--package-lock=false", "--install-links", "--no-audit", "--no-fund"];
    const [npm, first] = npmCommand();
    const args = [...first, "install", "--prefix", partial, ...flags];
    const result = await run(npm, args, { cwd: partial, timeoutMs: 600_000 });
    if (result.code !== 0) {
      throw commandFailed(
        `npm install ${name}@${TFJS_NODE_VERSION}`,
        result,
        "Check npm's registry and network settings.",
      );
    }
  });
  return true;
}

const writeJson = (file: string, value: object): Promise<void> =>
  writeFile(file, `${JSON.stringify(value, null, 2)}\n`);
