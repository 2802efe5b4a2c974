import path from "node:path";

import type { BackendName } from "../../src/backends/backend.js";
import type { PaliGemmaConfig } from "../../src/model/config.js";
import type { DtypeChoice } from "../../src/backends/dtypes.js";
import { loadConfig, loadNetwork } from "../../src/loading/load-network.js";
import type { PaliGemmaModel } from "../../src/model/model.js";
import { PaliGemma } from "../../src/paligemma.js";
import type { Question } from "../../src/answering/question.js";
import type { Settings } from "../../src/model/settings.js";
import { openFolder } from "../../weights/source.js";
import { fixtures, readReference } from "../parity/reference.js";

/** The folder of a tiny checkpoint. */
export const tinyFolder = (name: string): string => path.join(fixtures, "models", name);

/** The network of a tiny checkpoint, on the current backend; `change` may alter its config. The caller disposes it. */
export async function tinyNetwork(
  name: string,
  {
    settings,
    change = (config) => config,
    dtype,
  }: { settings?: Settings; change?: (config: PaliGemmaConfig) => PaliGemmaConfig; dtype?: DtypeChoice } = {},
): Promise<PaliGemmaModel> {
  const folder = await openFolder(tinyFolder(name));
  return loadNetwork(folder, change(await loadConfig(folder)), settings, { dtype });
}

/**
 * "tiny-pg2" with the question of its reference, after a first pass, at which wasm makes its copies of matrices. The
 * caller disposes the model.
 */
export async function tinyModel(backend: BackendName): Promise<{ model: PaliGemma; question: Question }> {
  const folder = path.join(fixtures, "references", "tiny-pg2", "prompt");
  const { prompts, pictures } = await readReference(folder);
  const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
  const question = { image: path.join(folder, pictures[0][0]), prompt: prompts[0] };
  (await model.forward(question)).dispose();
  return { model, question };
}
