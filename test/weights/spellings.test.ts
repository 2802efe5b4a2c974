import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { canonicalName, openFile, openFolder, readHeader } from "../../weights/index.js";
import { LAYOUTS, spelled } from "../../weights/spellings.js";
import { fixtures } from "../parity/reference.js";
import { openWeights } from "../../weights/open-weights.js";

const models = join(fixtures, "models");

/** The names in a tiny checkpoint's files, an lm_head that repeats the embedding left out. */
async function namesIn(model: string): Promise<string[]> {
  const files = (await readdir(join(models, model))).filter((file) => file.endsWith(".safetensors"));
  const names: string[] = [];
  for (const file of files) {
    const source = await openFile(join(models, model, file));
    names.push(...(await readHeader(source)).tensors.keys());
    await source.close();
  }
  const tied = names.some((name) => name.endsWith("embed_tokens.weight"));
  return names.filter((name) => !tied || !name.endsWith("lm_head.weight")).sort();
}

describe("weights/layouts", () => {
  for (const [layout, model] of [
    ["hub", "tiny-pg2-hub"],
    ["vision-tower", "tiny-pg2"],
    ["model", "tiny-pg2-model-prefix"],
    ["in-memory", "tiny-pg2-in-memory"],
    ["robotics", "tiny-pg2-robotics"],
  ] as const) {
    it(`${layout} spells every tensor as ${model} does`, async () => {
      const checkpoint = await openWeights(await openFolder(join(models, "tiny-pg2")));
      const ours = [...checkpoint.entries.keys()].map((name) => spelled(name, layout));
      assert.deepEqual(ours.sort(), await namesIn(model));
      await checkpoint.close();
    });
  }

  it("every spelling leads back to the tensor", async () => {
    const checkpoint = await openWeights(await openFolder(join(models, "tiny-pg1")));
    for (const layout of LAYOUTS) {
      for (const name of checkpoint.entries.keys()) {
        const back = canonicalName(spelled(name, layout)).replace("lm_head", "model.embed_tokens");
        assert.equal(back, name, layout);
      }
    }
    await checkpoint.close();
  });
});
