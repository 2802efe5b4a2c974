import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { Adapters } from "../../../src/adapters/adapters.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { compare } from "../../parity/compare.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { adapterFolder, withChangedAdapter } from "../../support/adapters.js";
import { onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

const MODEL = "tiny-pg2-head";

onEachBackend("an output head of its own", () => {
  let network: PaliGemmaModel;
  let inputs: ModelInputs & { pixelValues: tf.Tensor };
  before(async () => {
    network = await tinyNetwork(MODEL);
    inputs = modelInputs(await readReference(path.join(fixtures, "references", MODEL, "prompt")));
  });
  after(() => {
    inputs.pixelValues.dispose();
    network.dispose();
  });

  it("has the directions of tokens, which the embedding has not", () =>
    tf.tidy(() => {
      const ids = [0, 7, 299];
      const { hiddenSize, rmsNormEps } = network.config.text;
      const stream = tf.randomNormal<tf.Rank.R2>([3, hiddenSize], 0, 2, "float32", 5);
      const scale = stream.square().mean(-1, true).add(rmsNormEps).sqrt();
      const dots = tf.matMul(stream.div(scale), network.language.directions(ids) as tf.Tensor2D, false, true);
      const logits = tf.gather(network.language.logitsOf(stream), ids, 1);
      assert.ok(compare(dots.dataSync(), logits.dataSync()).scaled < 1e-5);
      const rows = network.language.embedding.apply(tf.tensor2d([ids], undefined, "int32")) as tf.Tensor;
      assert.ok(compare(rows.dataSync(), network.language.unembed.table(ids).dataSync()).scaled > 0.1);
    }));

  it("takes the table that an adapter brings for it, and the embedding takes its own", async () => {
    const adapters = new Adapters(network);
    /** Embeddings and logits with the adapter "both", one of whose base tables is doubled. */
    const withDoubled = (doubled: "embed_tokens" | "lm_head" | null) =>
      withChangedAdapter(
        adapterFolder(MODEL, "both"),
        ({ tensors }) => {
          for (const [name, { data }] of tensors) {
            if (doubled === null || !name.endsWith(`${doubled}.base_layer.weight`)) continue;
            const bytes = data as Uint8Array;
            const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
            values.forEach((value, i) => (values[i] = 2 * value));
          }
        },
        async (folder) => {
          await adapters.load("changed", folder);
          adapters.set(["changed"]);
          let embedded = new Float32Array(0);
          const logits = tf.tidy(() =>
            network
              .forward(inputs, {
                tap: (name, value) => {
                  if (name === "language.hook_embed") embedded = value.dataSync<"float32">().slice();
                  return value;
                },
              })
              .dataSync<"float32">(),
          );
          adapters.unload("changed");
          return { embedded, logits };
        },
      );
    const plain = await withDoubled(null);
    const table = await withDoubled("embed_tokens");
    const head = await withDoubled("lm_head");
    assert.ok(compare(table.embedded, plain.embedded).scaled > 0.1);
    assert.deepEqual(head.embedded, plain.embedded);
    assert.ok(compare(head.logits, plain.logits).scaled > 0.1);
    adapters.dispose();
  });
});
