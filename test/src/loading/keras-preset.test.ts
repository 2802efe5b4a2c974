import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import path from "node:path";

import { parseConfig } from "../../../src/model/config.js";
import { ConfigError } from "../../../src/base/errors.js";
import { configOfPreset, isKerasConfig, tokenizerFolder } from "../../../src/loading/keras-preset.js";
import { loadTokenizer } from "../../../src/input/tokenizer/tokenizer.js";
import { openFolder } from "../../../weights/source.js";
import { fixtures } from "../../parity/reference.js";
import { tinyFolder } from "../../support/tiny.js";

type Preset = { class_name: string; config: Record<string, unknown> };
const presetOf = async (name: string): Promise<Preset> =>
  JSON.parse(await readFile(path.join(fixtures, "keras", name, "config.json"), "utf8")) as Preset;
const read = ({ config, ...rest }: Preset, change: Record<string, unknown> = {}) =>
  parseConfig(configOfPreset({ ...rest, config: { ...config, ...change } }, "preset/config.json"));
const tiny = async (name: string) =>
  parseConfig(JSON.parse(await readFile(path.join(tinyFolder(name), "config.json"), "utf8")));

describe("Keras presets", () => {
  it("a preset of PaliGemma 1 says what the Hugging Face config of the same model says", async () => {
    const { text, vision, ...ids } = read(await presetOf("tiny-pg1"));
    const theirs = await tiny("tiny-pg1");
    assert.deepEqual(text, { ...theirs.text, vocabSize: 299 });
    assert.deepEqual(vision, theirs.vision);
    assert.deepEqual(ids, { imageTokenId: 299, bosTokenId: 2, eosTokenIds: [1], padTokenId: 0 });
  });

  it("so does one of PaliGemma 2, but for what keras-hub computes otherwise", async () => {
    const { text, vision } = read(await presetOf("tiny-pg2"));
    const theirs = await tiny("tiny-pg2");
    assert.deepEqual(text, { ...theirs.text, vocabSize: 299, queryPreAttnScalar: 16, slidingWindow: 4096 });
    assert.deepEqual(vision, theirs.vision);
  });

  it("every value of a preset is read", async () => {
    const preset = await presetOf("tiny-pg2");
    const plain = JSON.stringify(read(preset));
    const changes = {
      vocabulary_size: 400,
      image_size: 56,
      num_layers: 6,
      num_query_heads: 8,
      num_key_value_heads: 4,
      hidden_dim: 64,
      intermediate_dim: 98,
      head_dim: 8,
      vit_patch_size: 14,
      vit_num_heads: 4,
      vit_hidden_dim: 48,
      vit_num_layers: 2,
      vit_intermediate_dim: 44,
      query_head_dim_normalize: false,
      attention_logit_soft_cap: 7,
      final_logit_soft_cap: null,
      use_sliding_window_attention: false,
      sliding_window_size: 9,
    };
    for (const [name, value] of Object.entries(changes)) {
      assert.notEqual(JSON.stringify(read(preset, { [name]: value })), plain, name);
    }
    assert.equal(read(preset, { query_head_dim_normalize: false }).text.queryPreAttnScalar, 8, "32 / 4");
    assert.equal(read(preset, { use_sliding_window_attention: false }).text.slidingWindow, null);
  });

  it("values that no PaliGemma has are refused by name", async () => {
    for (const [name, preset, change] of [
      ["layer_norm_epsilon", "tiny-pg1", { layer_norm_epsilon: 1e-5 }],
      ["vit_pooling", "tiny-pg1", { vit_pooling: "map" }],
      ["vit_classifier_activation", "tiny-pg1", { vit_classifier_activation: "gelu" }],
      ["intermediate_dim", "tiny-pg1", { intermediate_dim: 75 }],
      ["use_post_attention_norm", "tiny-pg2", { use_post_attention_norm: false }],
      ["use_post_attention_norm", "tiny-pg1", { use_post_attention_norm: true }],
      ["attention_logit_soft_cap", "tiny-pg1", { attention_logit_soft_cap: 50 }],
      ["final_logit_soft_cap", "tiny-pg1", { final_logit_soft_cap: 30 }],
      ["use_sliding_window_attention", "tiny-pg1", { use_sliding_window_attention: true }],
      ["query_head_dim_normalize", "tiny-pg1", { query_head_dim_normalize: false }],
      ["head_dim", "tiny-pg1", { head_dim: "8" }],
      ["hidden_dim", "tiny-pg1", { hidden_dim: undefined }],
    ] as const) {
      const given = await presetOf(preset);
      const thrown = (error: unknown): true => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, new RegExp(`^preset/config\\.json\\.config\\.${name}: expected`));
        return true;
      };
      assert.throws(() => read(given, change), thrown, name);
    }
  });

  it("a preset is known by its class", async () => {
    assert.ok(isKerasConfig(await presetOf("tiny-pg1")));
    for (const other of [null, [], "PaliGemmaBackbone", {}, { class_name: "GemmaBackbone" }]) {
      assert.ok(!isKerasConfig(other), JSON.stringify(other));
    }
  });

  it("its vocabulary is a tokenizer.model under another name, and its tokenizer.json is not looked at", async () => {
    const folder = await tokenizerFolder(await openFolder(path.join(fixtures, "keras", "tiny-pg1-task")));
    assert.equal(await folder.has("tokenizer.json"), false);
    const ours = await loadTokenizer(folder, { addedTokens: { "<image>": 299 } });
    const theirs = await loadTokenizer(await openFolder(tinyFolder("tiny-pg1")));
    for (const text of ["caption en\n", "detect red <loc0003>", "größe"]) {
      assert.deepEqual(ours.encode(text), theirs.encode(text), text);
    }
    assert.equal(ours.imageTokenId, 299);
    const plain = await openFolder(tinyFolder("tiny-pg1"));
    assert.equal(await tokenizerFolder(plain), plain);
  });
});
