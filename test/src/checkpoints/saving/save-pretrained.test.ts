import { strict as assert } from "node:assert";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { InputError } from "../../../../src/base/errors.js";
import { loadConfig, loadNetwork } from "../../../../src/loading/load-network.js";
import { PaliGemma } from "../../../../src/paligemma.js";
import { savePretrained } from "../../../../src/checkpoints/saving/save-pretrained.js";
import { openFolder } from "../../../../weights/index.js";
import { fixtures, modelInputs, readReference } from "../../../parity/reference.js";
import { adapterFolder } from "../../../support/adapters.js";
import { counts, onEachBackend } from "../../../support/backends.js";
import { inTemporaryFolder } from "../../../support/temporary.js";
import { tinyFolder, tinyNetwork } from "../../../support/tiny.js";
import { openWeights } from "../../../../weights/open-weights.js";

const reference = (model: string) => readReference(path.join(fixtures, "references", model, "prompt"));

onEachBackend("saving a loaded model", (backend) => {
  for (const [name, tokenizer] of [
    ["tiny-pg1", undefined],
    ["tiny-pg2", undefined],
    ["tiny-pg2-head", undefined],
    ["tiny-pg2-bf16", "tiny-pg2"],
    ["tiny-pg2-f16", "tiny-pg2"],
  ] as const) {
    it(`${name} comes back with the same logits, bit for bit, and the same files beside its weights`, () =>
      inTemporaryFolder(async (folder) => {
        const out = path.join(folder, "out");
        const words = tokenizer && tinyFolder(tokenizer);
        const model = await PaliGemma.load(tinyFolder(name), { backend, tokenizer: words });
        const inputs = modelInputs(await reference(tokenizer ?? name));
        const before = counts();
        const saved = await savePretrained(model, out, { maxShardSize: "100KB" });
        assert.deepEqual(counts(), before);
        assert.ok(saved.files.length > 2);
        const again = await PaliGemma.load(out, { backend });
        assert.deepEqual(again.config, model.config);
        const logits = [model, again].map(({ network }) => tf.tidy(() => network.forward(inputs).dataSync()));
        assert.deepEqual(logits[1], logits[0]);
        for (const file of await readdir(words ?? tinyFolder(name))) {
          if (/^(config|model|NOTE|preprocessor|generation)/.test(file)) continue;
          const original = await readFile(path.join(words ?? tinyFolder(name), file));
          assert.deepEqual(await readFile(path.join(out, file)), original, file);
        }
        for (const one of [model, again]) one.dispose();
        inputs.pixelValues.dispose();
      }));
  }

  it("in another type it is that of converting the checkpoint, byte for byte", () =>
    inTemporaryFolder(async (folder) => {
      const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
      await savePretrained(model, path.join(folder, "ours"), { dtype: "bfloat16" });
      model.dispose();
      const [ours, theirs] = await Promise.all(
        [path.join(folder, "ours"), tinyFolder("tiny-pg2-bf16")].map(async (place) =>
          openWeights(await openFolder(place)),
        ),
      );
      for (const [name, { shape }] of theirs.entries) {
        for (const checkpoint of [ours, theirs]) await checkpoint.stage(name);
        const [a, b] = [ours.get(name, shape), theirs.get(name, shape)];
        assert.deepEqual(a.dataSync(), b.dataSync(), name);
        tf.dispose([a, b]);
      }
      for (const checkpoint of [ours, theirs]) await checkpoint.close();
    }));

  it("a network alone is saved with a config of its own, and without a tokenizer", () =>
    inTemporaryFolder(async (folder) => {
      const network = await tinyNetwork("tiny-pg2");
      const out = path.join(folder, "out");
      await savePretrained(network, out);
      const files = ["config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json"];
      assert.deepEqual((await readdir(out)).sort(), files);
      const place = await openFolder(out);
      assert.deepEqual(await loadConfig(place), network.config);
      const again = await loadNetwork(place, network.config);
      const inputs = modelInputs(await reference("tiny-pg2"));
      const logits = [network, again].map((one) => tf.tidy(() => one.forward(inputs).dataSync()));
      assert.deepEqual(logits[1], logits[0]);
      for (const one of [network, again]) one.dispose();
      inputs.pixelValues.dispose();
    }));

  it("a model may be saved over the files that it was loaded from", () =>
    inTemporaryFolder(async (folder) => {
      const out = path.join(folder, "out");
      const first = await PaliGemma.load(tinyFolder("tiny-pg1"), { backend });
      await savePretrained(first, out);
      const model = await PaliGemma.load(out, { backend });
      await assert.rejects(savePretrained(model, out), InputError);
      await savePretrained(model, out, { overwrite: true, layout: "model" });
      const inputs = modelInputs(await reference("tiny-pg1"));
      const logits = [first, model].map(({ network }) => tf.tidy(() => network.forward(inputs).dataSync()));
      assert.deepEqual(logits[1], logits[0]);
      for (const one of [first, model]) one.dispose();
      inputs.pixelValues.dispose();
    }));

  it("a merged adapter of the head alone gives the saved model a head of its own", () =>
    inTemporaryFolder(async (folder) => {
      const out = path.join(folder, "out");
      const model = await PaliGemma.load(tinyFolder("tiny-pg2"), {
        backend,
        adapter: adapterFolder("tiny-pg2", "head"),
      });
      await model.mergeAdapters();
      await savePretrained(model, out, { layout: "model" });
      const config = JSON.parse(await readFile(path.join(out, "config.json"), "utf8")) as Record<string, unknown>;
      assert.equal(config.tie_word_embeddings, false);
      const again = await PaliGemma.load(out, { backend });
      assert.equal(again.config.text.tieWordEmbeddings, false);
      const inputs = modelInputs(await reference("tiny-pg2"));
      const logits = [model, again].map(({ network }) => tf.tidy(() => network.forward(inputs).dataSync()));
      assert.deepEqual(logits[1], logits[0]);
      for (const one of [model, again]) one.dispose();
      inputs.pixelValues.dispose();
    }));

  it("active adapters are refused, and merged ones are part of what is saved", () =>
    inTemporaryFolder(async (folder) => {
      const [out, place] = [path.join(folder, "out"), adapterFolder("tiny-pg2", "language")];
      const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend, adapter: place });
      await assert.rejects(savePretrained(model, out), /an adapter is active on .*merge it first/);
      await model.mergeAdapters();
      await savePretrained(model, out);
      const again = await PaliGemma.load(out, { backend });
      const inputs = modelInputs(await reference("tiny-pg2"));
      const logits = [model, again].map(({ network }) => tf.tidy(() => network.forward(inputs).dataSync()));
      assert.deepEqual(logits[1], logits[0]);
      for (const one of [model, again]) one.dispose();
      inputs.pixelValues.dispose();
    }));
});
