import { strict as assert } from "node:assert";

import * as tf from "@tensorflow/tfjs";

import { parseConfig } from "../../../src/model/config.js";
import { ConfigError } from "../../../src/base/errors.js";
import { configOfShapes } from "../../../src/loading/known-variants.js";
import { expectedTensors } from "../../../src/model/model.js";

/** config.json of google's repositories, cut to what says something. */
const gemma = { vocab_size: 257152, head_dim: 256 };
const gemma2 = {
  ...gemma,
  model_type: "gemma2",
  query_pre_attn_scalar: 256,
  attn_logit_softcapping: 50,
  final_logit_softcapping: 30,
  sliding_window: 4096,
};
const sizes = (hidden: number, layers: number, heads: number, keyHeads: number, mlp: number) => ({
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: keyHeads,
  intermediate_size: mlp,
});
const PUBLISHED: Record<string, object> = {
  "PaliGemma 3B": { ...gemma, model_type: "gemma", ...sizes(2048, 18, 8, 1, 16384) },
  "PaliGemma 2 3B": { ...gemma2, ...sizes(2304, 26, 8, 4, 9216) },
  "PaliGemma 2 10B": { ...gemma2, ...sizes(3584, 42, 16, 8, 14336) },
  "PaliGemma 2 28B": { ...gemma2, ...sizes(4608, 46, 32, 16, 36864), head_dim: 128, query_pre_attn_scalar: 144 },
};
const vision = {
  hidden_size: 1152,
  intermediate_size: 4304,
  num_hidden_layers: 27,
  num_attention_heads: 16,
  patch_size: 14,
};
const published = (name: string, image_size: number): object => ({
  model_type: "paligemma",
  image_token_index: 257152,
  text_config: PUBLISHED[name],
  vision_config: { ...vision, image_size },
});

describe("known variants", () => {
  before(async () => {
    await tf.setBackend("cpu");
  });

  for (const name of Object.keys(PUBLISHED)) {
    for (const image of name === "PaliGemma 2 3B" ? [224, 448, 896] : [224]) {
      it(`the shapes of ${name} at ${image} pixels give its published config`, () => {
        const config = parseConfig(published(name, image));
        assert.deepEqual(parseConfig(configOfShapes(expectedTensors(config), "folder")), config);
      });
    }
  }

  it("rows behind <image> are kept", () => {
    const shapes = expectedTensors(parseConfig(published("PaliGemma 3B", 224)));
    const more = new Map(shapes).set("language_model.model.embed_tokens.weight", [257216, 2048]);
    assert.equal(parseConfig(configOfShapes(more, "folder")).text.vocabSize, 257216);
  });

  it("any other shape is refused with what was found and what a config.json must say", () => {
    const shapes = expectedTensors(parseConfig(published("PaliGemma 3B", 224)));
    for (const [tensor, shape] of [
      ["language_model.model.embed_tokens.weight", [256000, 2048]],
      ["language_model.model.layers.0.self_attn.k_proj.weight", [512, 2048]],
      ["vision_tower.vision_model.embeddings.patch_embedding.weight", [1152, 3, 16, 16]],
      ["vision_tower.vision_model.embeddings.position_embedding.weight", [255, 1152]],
      ["vision_tower.vision_model.encoder.layers.27.layer_norm1.bias", [1152]],
    ] as const) {
      const other = new Map<string, readonly number[]>(shapes).set(tensor, shape);
      const thrown = (error: unknown): true => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /^folder: there is no config\.json.*known variants \(PaliGemma 3B, PaliGemma 2 3B/);
        assert.match(error.message, /"D":2048,"layers":18.*query_pre_attn_scalar/);
        return true;
      };
      assert.throws(() => configOfShapes(other, "folder"), thrown, tensor);
    }
    assert.throws(() => configOfShapes(new Map(), "folder"), ConfigError);
  });
});
