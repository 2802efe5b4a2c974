import { readdirSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { demoCheckpoint } from "../../src/base/demo-checkpoint.js";

export {
  modelInputs,
  readReference,
  readTensors,
  type Reference,
  type ReferenceTensor,
} from "../../src/parity/reference.js";

/** The folder of the committed fixtures. */
export const fixtures = path.join(path.dirname(fileURLToPath(import.meta.url)), "..", "fixtures");

/** Every committed reference: its name as "model/case", its folder, and the folder of its model. */
export function committedReferences(): { name: string; reference: string; model: string }[] {
  const root = path.join(fixtures, "references");
  return readdirSync(root).flatMap((model) =>
    readdirSync(path.join(root, model)).map((run) => ({
      name: `${model}/${run}`,
      reference: path.join(root, model, run),
      model: model === "demo" ? demoCheckpoint() : path.join(fixtures, "models", model),
    })),
  );
}
