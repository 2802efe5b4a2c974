import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { onEachBackend } from "../support/backends.js";
import { tinyNetwork } from "../support/tiny.js";
import { fixtures, modelInputs, readReference } from "./reference.js";

onEachBackend("one model in every layout of names", () => {
  it("gives bit-equal logits: hub, model prefix, in memory, robotics, sharded", async () => {
    const inputs = modelInputs(await readReference(path.join(fixtures, "references", "tiny-pg2", "prompt")));
    const logits = async (name: string) => {
      const model = await tinyNetwork(name);
      const values = tf.tidy(() => model.forward(inputs).dataSync());
      model.dispose();
      return values;
    };
    const usual = await logits("tiny-pg2");
    for (const layout of ["hub", "model-prefix", "in-memory", "robotics", "sharded"]) {
      assert.deepEqual(await logits(`tiny-pg2-${layout}`), usual, layout);
    }
    assert.notDeepEqual(await logits("tiny-pg2-bf16"), usual, "rounded weights are other weights");
    inputs.pixelValues.dispose();
  });
});
