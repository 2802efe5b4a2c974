import { strict as assert } from "node:assert";

import { countAdapter } from "../../../src/adapters/adapter-info.js";
import { useBackend } from "../../../src/backends/backend.js";
import { parseConfig } from "../../../src/model/config.js";
import { expectedTensors } from "../../../src/model/model.js";
import { parseAdapterConfig } from "../../../weights/adapter/config.js";
import { expectedAdapter } from "../../../weights/adapter/expected.js";
import { MatchBudget } from "../../../weights/adapter/match-budget.js";
import { SPELLINGS } from "../../../weights/adapter/spelling.js";

const TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/** The published 3B models. Source: config.json of google/paligemma-3b-pt-224 and google/paligemma2-3b-pt-224. */
const VISION = { hidden_size: 1152, intermediate_size: 4304, num_hidden_layers: 27, num_attention_heads: 16 };
const MODELS = {
  "PaliGemma 3B": {
    text: {
      model_type: "gemma",
      hidden_size: 2048,
      num_hidden_layers: 18,
      intermediate_size: 16384,
      num_key_value_heads: 1,
    },
    language: [126, 9_805_824],
    tensors: 414,
    parameters: 11_298_816,
  },
  "PaliGemma 2 3B": {
    text: {
      model_type: "gemma2",
      hidden_size: 2304,
      num_hidden_layers: 26,
      intermediate_size: 9216,
      num_key_value_heads: 4,
    },
    language: [182, 10_383_360],
    tensors: 526,
    parameters: 11_876_352,
  },
};

describe("what an adapter brings to a published model", () => {
  before(() => useBackend("cpu"));
  for (const [name, { text, language, tensors, parameters }] of Object.entries(MODELS)) {
    it(`${name}: r = 8 on the usual seven names is ${tensors} tensors, ${parameters} numbers, and reaches the vision tower`, () => {
      const config = parseConfig({
        model_type: "paligemma",
        image_token_index: 257152,
        projection_dim: text.hidden_size,
        vision_config: { ...VISION, model_type: "siglip_vision_model", patch_size: 14, image_size: 224 },
        text_config: {
          ...text,
          num_attention_heads: 8,
          head_dim: 256,
          vocab_size: 257216,
          ...(text.model_type === "gemma2" && {
            query_pre_attn_scalar: 256,
            attn_logit_softcapping: 50,
            final_logit_softcapping: 30,
            sliding_window: 4096,
          }),
        },
      });
      const model = expectedTensors(config);
      const count = (fields: object) => {
        const adapter = parseAdapterConfig({ peft_type: "LORA", r: 8, target_modules: TARGETS, ...fields }, "test");
        const expected = expectedAdapter(model, adapter, SPELLINGS[0], { where: "test", budget: new MatchBudget() });
        const required = [...expected.tensors.values()].filter(({ role }) => role !== "base").length;
        return { required, counts: countAdapter(expected) };
      };
      const { required, counts } = count({});
      assert.equal(required, tensors);
      assert.deepEqual([counts.modules, counts.parameters], [tensors / 2, parameters]);
      assert.deepEqual(Object.values(counts.parts.language), language);
      assert.deepEqual(counts.parts.vision, { modules: 81, parameters: 1_492_992 });
      assert.deepEqual(counts.parts.projector, { modules: 0, parameters: 0 });
      assert.deepEqual(counts.replaced, { tensors: 0, parameters: 0 });

      const alone = count({ target_modules: String.raw`.*language_model.*_proj` }).counts;
      assert.deepEqual([alone.modules, alone.parameters], language);
      const saved = count({ modules_to_save: ["multi_modal_projector"] }).counts.replaced;
      assert.deepEqual(saved, { tensors: 2, parameters: text.hidden_size * 1153 });
    });
  }
});
