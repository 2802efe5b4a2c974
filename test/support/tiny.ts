import path from "node:path";

import type { PaliGemmaConfig } from "../../src/config.js";
import type { DtypeChoice } from "../../src/dtypes.js";
import { loadConfig, loadNetwork } from "../../src/load-network.js";
import type { PaliGemmaModel } from "../../src/model.js";
import type { Settings } from "../../src/settings.js";
import { openFolder } from "../../weights/source.js";
import { fixtures } from "../parity/reference.js";

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
