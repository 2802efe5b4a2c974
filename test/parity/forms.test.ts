import { strict as assert } from "node:assert";
import { cp } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { loadConfig, loadNetwork } from "../../src/loading/load-network.js";
import type { ModelInputs } from "../../src/model/inputs.js";
import { PaliGemma } from "../../src/paligemma.js";
import { openFolder } from "../../weights/index.js";
import { counts, onEachBackend } from "../support/backends.js";
import { inTemporaryFolder } from "../support/temporary.js";
import { tinyFolder } from "../support/tiny.js";
import { writeTwin } from "../support/tiny-twin.js";
import { fixtures, modelInputs, readReference, readTensors } from "./reference.js";

const archive = (model: string, file: string): string => path.join(fixtures, "npz", model, `${file}.npz`);
const preset = (name: string): string => path.join(fixtures, "keras", name);
const reference = (model: string, run: string) => readReference(path.join(fixtures, "references", model, run));

async function logitsOf(place: string, inputs: ModelInputs): Promise<tf.TypedArray> {
  const folder = await openFolder(place);
  const model = await loadNetwork(folder, await loadConfig(folder));
  const values = tf.tidy(() => model.forward(inputs).dataSync());
  model.dispose();
  return values;
}

/**
 * What keras-hub computes otherwise than PaliGemma 2, and so another model: the scale of queries, and no window worth
 * the name.
 */
const AS_KERAS = { query_pre_attn_scalar: 16, sliding_window: 4096 };

onEachBackend("one model in every form of file", (backend) => {
  for (const [form, place, model, twin, text] of [
    ["big_vision's tiny-pg1/f32.npz", archive("tiny-pg1", "f32"), "tiny-pg1", "tiny-pg1", {}],
    ["big_vision's tiny-pg1/bf16.npz", archive("tiny-pg1", "bf16"), "tiny-pg1", "tiny-pg1-bf16", {}],
    ["big_vision's tiny-pg2/f32.npz", archive("tiny-pg2", "f32"), "tiny-pg2", "tiny-pg2", {}],
    ["big_vision's tiny-pg2/bf16.npz", archive("tiny-pg2", "bf16"), "tiny-pg2", "tiny-pg2-bf16", {}],
    ["big_vision's tiny-pg2/f16.npz", archive("tiny-pg2", "f16"), "tiny-pg2", "tiny-pg2-f16", {}],
    ["big_vision's tiny-pg2/deflated.npz", archive("tiny-pg2", "deflated"), "tiny-pg2", "tiny-pg2", {}],
    ["Keras's preset tiny-pg1", preset("tiny-pg1"), "tiny-pg1", "tiny-pg1", {}],
    ["Keras's preset tiny-pg1-task, bf16", preset("tiny-pg1-task"), "tiny-pg1", "tiny-pg1-bf16", {}],
    ["Keras's preset tiny-pg2", preset("tiny-pg2"), "tiny-pg2", "tiny-pg2", AS_KERAS],
    ["Keras's preset tiny-pg2-sharded, bf16", preset("tiny-pg2-sharded"), "tiny-pg2", "tiny-pg2-bf16", AS_KERAS],
  ] as const) {
    it(`${form} gives the logits of ${twin}'s safetensors, bit for bit`, () =>
      inTemporaryFolder(async (folder) => {
        const inputs = modelInputs(await reference(model, "suffix"));
        const before = counts();
        const logits = await logitsOf(place, inputs);
        assert.deepEqual(counts(), before);
        assert.deepEqual(logits, await logitsOf(await writeTwin(twin, folder, text), inputs));
        inputs.pixelValues.dispose();
      }));
  }

  for (const model of ["tiny-pg1", "tiny-pg2"]) {
    it(`the logits of Keras's preset ${model} are those that keras-hub computes`, async () => {
      const { values } = (await readTensors(path.join(fixtures, "keras", "logits.safetensors"))).get(model)!;
      const inputs = modelInputs(await reference(model, "suffix"));
      const logits = await logitsOf(preset(model), inputs);
      const worst = Math.max(...Array.from(logits, (value, i) => Math.abs(value - values[i])));
      assert.equal(logits.length, values.length);
      assert.ok(worst < 1e-4, `off by ${worst}`);
      inputs.pixelValues.dispose();
    });
  }

  it("an archive answers with the reference's tokens, given a tokenizer, and knows no row that it has not", async () => {
    const { prompts, pictures, greedy } = await reference("tiny-pg2", "prompt");
    const image = path.join(fixtures, "references", "tiny-pg2", "prompt", pictures[0][0]);
    const tokenizer = tinyFolder("tiny-pg2");
    const model = await PaliGemma.load(archive("tiny-pg2", "f32"), { backend, tokenizer });
    assert.equal(model.name, archive("tiny-pg2", "f32"));
    assert.deepEqual([model.config.text.vocabSize, model.config.imageTokenId], [299, 299]);
    const answer = await model.generate({ image, prompt: prompts[0] }, { maxNewTokens: 24 });
    assert.deepEqual(answer.tokens, greedy[0]);
    const behind = model.forward({ pixelValues: null, inputIds: [[2, 300]] });
    await assert.rejects(behind, /expected ids in \[0, 299\), received 300/);
    model.dispose();
  });

  it("an archive without a tokenizer says that it needs one", () =>
    inTemporaryFolder(async (folder) => {
      await cp(path.join(fixtures, "npz", "tiny-pg1"), folder, { recursive: true });
      const loading = PaliGemma.load(path.join(folder, "f32.npz"), { backend });
      await assert.rejects(loading, /neither tokenizer\.model nor tokenizer\.json/);
    }));

  it("a preset brings its own tokenizer, and answers as the same weights do from safetensors", async () => {
    const { prompts, pictures } = await reference("tiny-pg1", "prompt");
    const image = path.join(fixtures, "references", "tiny-pg1", "prompt", pictures[0][0]);
    const ask = async (place: string, tokenizer?: string) => {
      const model = await PaliGemma.load(place, { backend, tokenizer });
      const { tokens, text } = await model.generate({ image, prompt: prompts[0] }, { maxNewTokens: 8 });
      model.dispose();
      return { tokens, text };
    };
    const expected = await ask(tinyFolder("tiny-pg1-bf16"), tinyFolder("tiny-pg1"));
    assert.deepEqual(await ask(preset("tiny-pg1-task")), expected);
  });
});
