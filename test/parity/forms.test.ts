import { strict as assert } from "node:assert";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadConfig, loadNetwork } from "../../src/load-network.js";
import type { ModelInputs } from "../../src/inputs.js";
import { PaliGemma } from "../../src/paligemma.js";
import { memorySource, openFolder, readHeader, type TensorData, writeSafetensors } from "../../weights/index.js";
import { counts, onEachBackend } from "../support/backends.js";
import { tinyFolder } from "../support/tiny.js";
import { fixtures, modelInputs, readReference } from "./reference.js";

const archive = (model: string, file: string): string => path.join(fixtures, "npz", model, `${file}.npz`);
const TABLE = "language_model.model.embed_tokens.weight";

/** A copy of a tiny checkpoint whose token table ends before `<image>`, as it does in big_vision's archives. */
async function withoutImageRow(name: string, folder: string): Promise<string> {
  const source = memorySource(name, await readFile(path.join(tinyFolder(name), "model.safetensors")));
  const tensors = new Map<string, TensorData>();
  for (const { name, dtype, shape, start, end } of (await readHeader(source)).tensors.values()) {
    const rows = name === TABLE ? [299, ...shape.slice(1)] : shape;
    const size = ((end - start) / shape[0]) * rows[0];
    tensors.set(name, { dtype, shape: rows, data: await source.read(start, start + size) });
  }
  await writeSafetensors(path.join(folder, "model.safetensors"), tensors);
  const config = JSON.parse(await readFile(path.join(tinyFolder(name), "config.json"), "utf8")) as {
    text_config: object;
  };
  await writeFile(
    path.join(folder, "config.json"),
    JSON.stringify({ ...config, text_config: { ...config.text_config, vocab_size: 299 } }),
  );
  return folder;
}

async function logitsOf(place: string, inputs: ModelInputs): Promise<tf.TypedArray> {
  const folder = await openFolder(place);
  const model = await loadNetwork(folder, await loadConfig(folder));
  const values = tf.tidy(() => model.forward(inputs).dataSync());
  model.dispose();
  return values;
}

onEachBackend("one model in every form of file", (backend) => {
  for (const [model, file, twin] of [
    ["tiny-pg1", "f32", "tiny-pg1"],
    ["tiny-pg1", "bf16", "tiny-pg1-bf16"],
    ["tiny-pg2", "f32", "tiny-pg2"],
    ["tiny-pg2", "bf16", "tiny-pg2-bf16"],
    ["tiny-pg2", "f16", "tiny-pg2-f16"],
    ["tiny-pg2", "deflated", "tiny-pg2"],
  ]) {
    it(`big_vision's ${model}/${file}.npz gives the logits of ${twin}, bit for bit`, async () => {
      const folder = await mkdtemp(path.join(tmpdir(), "forms-"));
      try {
        const reference = await readReference(path.join(fixtures, "references", model, "suffix"));
        const inputs = modelInputs(reference);
        const before = counts();
        const logits = await logitsOf(archive(model, file), inputs);
        assert.deepEqual(counts(), before);
        assert.deepEqual(logits, await logitsOf(await withoutImageRow(twin, folder), inputs));
        inputs.pixelValues.dispose();
      } finally {
        await rm(folder, { recursive: true });
      }
    });
  }

  it("an archive answers with the reference's tokens, given a tokenizer, and knows no row that it has not", async () => {
    const reference = await readReference(path.join(fixtures, "references", "tiny-pg2", "prompt"));
    const image = path.join(fixtures, "references", "tiny-pg2", "prompt", reference.pictures[0][0]);
    const tokenizer = tinyFolder("tiny-pg2");
    const model = await PaliGemma.load(archive("tiny-pg2", "f32"), { backend, tokenizer });
    assert.equal(model.name, archive("tiny-pg2", "f32"));
    assert.deepEqual([model.config.text.vocabSize, model.config.imageTokenId], [299, 299]);
    const answer = await model.generate({ image, prompt: reference.prompts[0] }, { maxNewTokens: 24 });
    assert.deepEqual(answer.tokens, reference.greedy[0]);
    await assert.rejects(
      model.forward({ pixelValues: null, inputIds: [[2, 300]] }),
      /expected ids in \[0, 299\), received 300/,
    );
    model.dispose();
  });

  it("an archive without a tokenizer says that it needs one", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "forms-"));
    await cp(path.join(fixtures, "npz", "tiny-pg1"), folder, { recursive: true });
    await assert.rejects(PaliGemma.load(path.join(folder, "f32.npz"), { backend }), /tokenizer/);
    await rm(folder, { recursive: true });
  });
});
