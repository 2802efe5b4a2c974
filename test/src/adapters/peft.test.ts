import { strict as assert } from "node:assert";
import path from "node:path";

import type * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../../layers/tap.js";
import { Adapters } from "../../../src/adapters/adapters.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { compare } from "../../parity/compare.js";
import { fixtures, modelInputs, readReference, readTensors, type ReferenceTensor } from "../../parity/reference.js";
import { EXACT } from "../../parity/run.js";
import { adapterFolder, adapterRuns } from "../../support/adapters.js";
import { onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

/** The limit of every hook's scaled error. */
const TOLERANCE = 1e-5;

onEachBackend("adapters compute what PEFT computes", () => {
  for (const model of ["tiny-pg1", "tiny-pg2", "tiny-pg2-head"]) {
    describe(model, () => {
      const { hooks, runs } = adapterRuns(model);
      let network: PaliGemmaModel;
      let inputs: ModelInputs & { pixelValues: tf.Tensor };
      let expected: Map<string, ReferenceTensor>;
      let base: Map<string, ReferenceTensor>;
      let adapters: Adapters;
      before(async () => {
        network = await tinyNetwork(model, { settings: EXACT });
        const reference = await readReference(path.join(fixtures, "references", model, "prompt"));
        inputs = modelInputs(reference);
        base = reference.taps as Map<string, ReferenceTensor>;
        expected = await readTensors(path.join(fixtures, "adapters", model, "outputs.safetensors"));
        adapters = new Adapters(network);
      });
      after(() => {
        adapters.dispose();
        inputs.pixelValues.dispose();
        network.dispose();
      });

      function worst(run: string, wanted: readonly string[] = hooks): { hook: string; scaled: number } {
        let found = { hook: "", scaled: -1 };
        const tap: Tap = (hook, value) => {
          if (!wanted.includes(hook)) return value;
          const { values } = expected.get(`${run}/${hook}`) ?? base.get(hook)!;
          const { scaled } = compare(value.dataSync(), values);
          if (scaled > found.scaled) found = { hook, scaled };
          return value;
        };
        network.forward(inputs, { tap }).dispose();
        return found;
      }

      for (const [run, active] of Object.entries(runs)) {
        it(`${run}: every hook, and merged the logits`, async () => {
          for (const name of Object.keys(active)) await adapters.load(name, adapterFolder(model, name));
          adapters.set(active);
          const { hook, scaled } = worst(run);
          assert.ok(scaled < TOLERANCE, `${hook}: ${scaled}`);
          await adapters.merge();
          const merged = worst(run, ["language.unembed.hook_out"]);
          assert.ok(merged.scaled < TOLERANCE, `merged: ${merged.scaled}`);
          adapters.unmerge();
          for (const name of Object.keys(active)) adapters.unload(name);
          if (process.env.PALIGEMMA_SHOW) console.log(hook, scaled, merged.scaled);
        });
      }
    });
  }
});
