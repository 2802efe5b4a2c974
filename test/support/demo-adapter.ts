import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";

import { useBackend } from "../../src/backends/backend.js";
import { demoCheckpoint } from "../../src/base/demo-checkpoint.js";
import { loadConfig } from "../../src/loading/load-network.js";
import { expectedTensors } from "../../src/model/model.js";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../../weights/adapter/adapter-file.js";
import { parseAdapterConfig } from "../../weights/adapter/config.js";
import { expectedAdapter } from "../../weights/adapter/expected.js";
import { MatchBudget } from "../../weights/adapter/match-budget.js";
import { spell, SPELLINGS } from "../../weights/adapter/spelling.js";
import { encodeSafetensors } from "../../weights/safetensors.js";
import { openFolder } from "../../weights/source.js";
import { random } from "../layers/cases.js";

/**
 * The two files of an adapter of the demo checkpoint: small random changes of its queries and values, in both towers.
 */
export async function demoAdapter(seed = 1): Promise<Record<string, Buffer>> {
  await useBackend("cpu");
  const config = { peft_type: "LORA", r: 2, lora_alpha: 2, target_modules: ["q_proj", "v_proj"] };
  const model = expectedTensors(await loadConfig(await openFolder(demoCheckpoint())));
  const { tensors } = expectedAdapter(model, parseAdapterConfig(config, "demo"), SPELLINGS[0], {
    where: "demo",
    budget: new MatchBudget(),
  });
  const drawn = [...tensors].filter(([, { role }]) => role !== "base");
  const file = encodeSafetensors(
    new Map(
      drawn.map(([name, { shape }], i) => {
        const values = random([...shape], seed + i);
        const data = values.dataSync<"float32">().map((value) => value / 20);
        values.dispose();
        return [`base_model.model.${spell(name, SPELLINGS[0])}`, { dtype: "F32", shape, data }];
      }),
    ),
  );
  return { [ADAPTER_CONFIG]: Buffer.from(JSON.stringify(config)), [ADAPTER_WEIGHTS]: Buffer.from(file) };
}

/** Writes such an adapter into a folder of its own. */
export async function writeDemoAdapter(folder: string, seed = 1): Promise<void> {
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(await demoAdapter(seed))) writeFileSync(path.join(folder, name), bytes);
}
