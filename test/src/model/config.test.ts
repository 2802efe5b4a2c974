import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { describeVariant, numImageTokens, type PaliGemmaConfig, parseConfig } from "../../../src/model/config.js";
import { ConfigError } from "../../../src/base/errors.js";
import { PaliGemmaModel } from "../../../src/model/model.js";
import { settingsWith } from "../../../src/model/settings.js";
import { useBackend } from "../../../src/backends/backend.js";
import { modelInputs, readReference, fixtures } from "../../parity/reference.js";
import { tinyFolder, tinyNetwork } from "../../support/tiny.js";

type Json = Record<string, unknown>;
const file = (name: string): Json => JSON.parse(readFileSync(path.join(tinyFolder(name), "config.json"), "utf8"));

/** PaliGemma 2 as its hub file says it: what equals a class default is left out. */
const hubGemma2: Json = {
  model_type: "paligemma",
  image_token_index: 257152,
  bos_token_id: 2,
  eos_token_id: 1,
  pad_token_id: 0,
  hidden_size: 2048,
  projection_dim: 2304,
  torch_dtype: "bfloat16",
  text_config: {
    model_type: "gemma2",
    eos_token_id: [1, 107],
    cache_implementation: "hybrid",
    hidden_act: "gelu_pytorch_tanh",
    hidden_size: 2304,
    num_hidden_layers: 26,
    num_image_tokens: 256,
    num_key_value_heads: 4,
    query_pre_attn_scalar: 256,
    sliding_window: 4096,
    vocab_size: 257216,
  },
  vision_config: {
    model_type: "siglip_vision_model",
    hidden_size: 1152,
    intermediate_size: 4304,
    num_attention_heads: 16,
    num_hidden_layers: 27,
    num_positions: 256,
    patch_size: 14,
    projection_dim: 2304,
    projector_hidden_act: "gelu_fast",
    vision_use_head: false,
  },
};
const hubGemma1: Json = {
  ...hubGemma2,
  image_token_index: undefined,
  image_token_id: 257152,
  text_config: {
    model_type: "gemma",
    hidden_act: "gelu",
    hidden_size: 2048,
    intermediate_size: 16384,
    num_attention_heads: 8,
    num_hidden_layers: 18,
    num_key_value_heads: 1,
    vocab_size: 257216,
    rope_theta: 10000,
  },
  vision_config: { ...(hubGemma2.vision_config as Json), projection_dim: 2048, image_size: 448 },
};

const withText = (base: Json, changes: Json): Json => ({
  ...base,
  text_config: { ...(base.text_config as Json), ...changes },
});
const withVision = (base: Json, changes: Json): Json => ({
  ...base,
  vision_config: { ...(base.vision_config as Json), ...changes },
});

const rope = (theta: number): Json => ({ rope_type: "default", rope_theta: theta });

describe("config.json", () => {
  it("of PaliGemma 2 gets the defaults that its file leaves out", () => {
    const { text, vision, ...ids } = parseConfig(hubGemma2);
    assert.deepEqual(ids, { imageTokenId: 257152, bosTokenId: 2, eosTokenIds: [1], padTokenId: 0 });
    const { layerTypes, ...rest } = text;
    assert.deepEqual(layerTypes.slice(0, 3), ["sliding_attention", "full_attention", "sliding_attention"]);
    assert.deepEqual(rest, {
      vocabSize: 257216,
      hiddenSize: 2304,
      intermediateSize: 9216,
      numHiddenLayers: 26,
      numAttentionHeads: 8,
      numKeyValueHeads: 4,
      headDim: 256,
      maxPositionEmbeddings: 8192,
      rmsNormEps: 1e-6,
      ropeTheta: 10000,
      queryPreAttnScalar: 256,
      attnLogitSoftcapping: 50,
      finalLogitSoftcapping: 30,
      slidingWindow: 4096,
      postNorms: true,
      tieWordEmbeddings: true,
    });
    assert.equal(vision.imageSize, 224);
    assert.equal(vision.layerNormEps, 1e-6);
  });

  it("of PaliGemma 1 has no cap, no window and no post-norms, and scales by its head size", () => {
    const config = parseConfig(hubGemma1);
    assert.equal(config.imageTokenId, 257152);
    assert.equal(config.text.queryPreAttnScalar, 256);
    assert.equal(config.text.attnLogitSoftcapping, null);
    assert.equal(config.text.slidingWindow, null);
    assert.equal(config.text.postNorms, false);
    assert.equal(numImageTokens(config), 1024);
    assert.equal(describeVariant(config), "PaliGemma 1, 448 px");
  });

  it("understands rope_parameters, a null window and listed layer types", () => {
    const text = {
      rope_theta: undefined,
      rope_parameters: { rope_theta: 5000, rope_type: "default" },
      sliding_window: null,
    };
    const config = parseConfig(withText(hubGemma2, { ...text, layer_types: Array(26).fill("full_attention") })).text;
    assert.equal(config.ropeTheta, 5000);
    assert.equal(config.slidingWindow, null);
    assert.ok(config.layerTypes.every((type) => type === "full_attention"));
  });

  // transformers 5.18 reads all but the nested ones, which it refuses (KeyError).
  for (const [fields, theta] of [
    [{ rope_scaling: { rope_type: "default" } }, 10000],
    [{ rope_scaling: { type: "default" }, rope_theta: 5000 }, 5000],
    [{ rope_scaling: rope(700), rope_theta: 5000 }, 700],
    [{ rope_scaling: rope(700), rope_parameters: rope(900) }, 700],
    [{ rope_scaling: {}, rope_theta: 5000 }, 5000],
    [{ rope_scaling: null, rope_parameters: { rope_theta: 900 } }, 900],
    [{ rope_parameters: { rope_type: "default" }, rope_theta: 5000 }, 5000],
    [{ rope_parameters: { full_attention: rope(1e6), sliding_attention: rope(1e6) } }, 1e6],
  ] as const) {
    it(`reads the rotary base ${theta} of ${JSON.stringify(fields)}`, () => {
      const text = withText(hubGemma2, { rope_theta: undefined, ...fields });
      assert.equal(parseConfig(text).text.ropeTheta, theta);
    });
  }

  it("ties the output to the embedding as its top level says, whatever text_config says", () => {
    const tie = (top: unknown, text: unknown) =>
      parseConfig({ ...withText(hubGemma2, { tie_word_embeddings: text }), tie_word_embeddings: top }).text
        .tieWordEmbeddings;
    assert.deepEqual(
      [tie(undefined, false), tie(true, false), tie(false, true), tie(false, undefined)],
      [true, true, false, false],
    );
  });

  it("of the first Gemma calls the tanh form of GELU gelu", () => {
    assert.ok(parseConfig(withText(hubGemma1, { hidden_act: "gelu" })));
    assert.ok(parseConfig({ ...hubGemma2, quantization_config: { load_in_4bit: true } }));
  });

  it("takes the patch size of every PaliGemma tower where it is left out", () => {
    assert.equal(parseConfig(withVision(hubGemma2, { patch_size: undefined })).vision.patchSize, 14);
  });

  it("prefers the top level's end token, and takes text_config's list where there is none", () => {
    assert.deepEqual(parseConfig({ ...hubGemma2, eos_token_id: undefined }).eosTokenIds, [1, 107]);
  });

  const refused: [why: string, json: unknown, message: RegExp][] = [
    ["no object", [], /config\.json: expected an object/],
    ["another architecture", { ...hubGemma2, model_type: "llava" }, /model_type.*"paligemma".*received "llava"/],
    ["another decoder", withText(hubGemma2, { model_type: "gemma3_text" }), /text_config\.model_type.*gemma3_text/],
    ["another vision tower", withVision(hubGemma2, { model_type: "clip" }), /vision_config\.model_type/],
    ["a missing sub-config", { ...hubGemma2, vision_config: undefined }, /vision_config.*received nothing/],
    ["no image token", { ...hubGemma2, image_token_index: undefined }, /image_token_index.*a number.*nothing/],
    ["an image token outside the vocabulary", { ...hubGemma2, image_token_index: 257217 }, /image_token_index/],
    ["heads that do not divide", withText(hubGemma2, { num_key_value_heads: 3 }), /num_key_value_heads.*divisor/],
    ["an odd head size", withText(hubGemma2, { head_dim: 3 }), /head_dim.*even/],
    ["a negative size", withText(hubGemma2, { num_hidden_layers: -1 }), /num_hidden_layers.*received -1/],
    [
      "more layers than any model has",
      withText(hubGemma2, { num_hidden_layers: 2 ** 31 - 1 }),
      /num_hidden_layers.*1024/,
    ],
    ["a fraction", withText(hubGemma2, { hidden_size: 2.5 }), /hidden_size/],
    ["text where a number is due", withText(hubGemma2, { intermediate_size: "many" }), /intermediate_size.*"many"/],
    ["an enormous size", withText(hubGemma2, { vocab_size: 1e300 }), /vocab_size/],
    [
      "a switch that is text",
      withText(hubGemma2, { attention_bias: "true" }),
      /attention_bias: expected false.*"true"/,
    ],
    ["a switch that is a number", { ...hubGemma2, tie_word_embeddings: 0 }, /tie_word_embeddings/],
    ["biases", withText(hubGemma2, { attention_bias: true }), /attention_bias/],
    ["scaled positions", withText(hubGemma2, { rope_scaling: { type: "linear" } }), /rope_scaling\.type.*"linear"/],
    ["positions scaled since", withText(hubGemma2, { rope_parameters: { rope_type: "yarn" } }), /rope_type.*"yarn"/],
    [
      "a base for each type of layer",
      withText(hubGemma2, { rope_parameters: { full_attention: rope(1e6), sliding_attention: rope(1e4) } }),
      /rope_parameters: expected one rope_theta for full_attention and sliding_attention/,
    ],
    [
      "one type of layer alone",
      withText(hubGemma2, { rope_parameters: { full_attention: rope(1e6) } }),
      /rope_parameters: expected rotary parameters for full_attention and sliding_attention/,
    ],
    [
      "one type of layer scaled",
      withText(hubGemma2, {
        rope_parameters: { full_attention: { ...rope(1e6), rope_type: "linear" }, sliding_attention: rope(1e6) },
      }),
      /rope_parameters\.full_attention\.rope_type/,
    ],
    ["another activation", withText(hubGemma2, { hidden_activation: "silu" }), /hidden_activation/],
    ["a projector that does not fit", withVision(hubGemma2, { projection_dim: 99 }), /projection_dim.*2304/],
    ["an image that is no whole number of patches", withVision(hubGemma2, { image_size: 225 }), /image_size/],
    ["layer types of another length", withText(hubGemma2, { layer_types: ["full_attention"] }), /layer_types/],
    ["an exact GELU in Gemma 2", withText(hubGemma2, { hidden_activation: "gelu" }), /hidden_activation.*"gelu"/],
    ["a window in the first Gemma", withText(hubGemma1, { sliding_window: 8 }), /sliding_window.*received 8/],
    ["attention that is not causal", withText(hubGemma2, { is_causal: false }), /is_causal: expected true/],
    ["a tie in text_config that is text", withText(hubGemma2, { tie_word_embeddings: "no" }), /text_config\.tie_word/],
    ...["gptq", "awq", "fp8", "torchao", "hqq", "compressed-tensors", 7].map((method): (typeof refused)[number] => [
      `weights by ${method}`,
      { ...hubGemma2, quantization_config: { quant_method: method, bits: 4 } },
      new RegExp(`quantization_config: the weights are quantised by "?${method}"?, expected bitsandbytes`),
    ]),
    ["weights by MLX", { ...hubGemma2, quantization: { group_size: 64, bits: 4 } }, /quantised by MLX's/],
    [
      "quantisation within text_config",
      withText(hubGemma2, { quantization_config: { quant_method: "gptq" } }),
      /text_config\.quantization_config/,
    ],
    ["an epsilon of zero", withText(hubGemma2, { rms_norm_eps: 0 }), /rms_norm_eps/],
  ];
  for (const [why, json, message] of refused) {
    it(`with ${why} is refused, naming the field`, () => {
      assert.throws(
        () => parseConfig(json),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    });
  }
});

/** A change to each field that leaves the weights' shapes alone, so that the same checkpoint still loads. */
const changes: Record<string, (config: PaliGemmaConfig) => PaliGemmaConfig> = {
  "vision.numAttentionHeads": (c) => ({ ...c, vision: { ...c.vision, numAttentionHeads: 4 } }),
  "vision.layerNormEps": (c) => ({ ...c, vision: { ...c.vision, layerNormEps: 1e-2 } }),
  "text.rmsNormEps": (c) => ({ ...c, text: { ...c.text, rmsNormEps: 1e-2 } }),
  "text.ropeTheta": (c) => ({ ...c, text: { ...c.text, ropeTheta: 1000 } }),
  "text.queryPreAttnScalar": (c) => ({ ...c, text: { ...c.text, queryPreAttnScalar: 16 } }),
  "text.attnLogitSoftcapping": (c) => ({ ...c, text: { ...c.text, attnLogitSoftcapping: null } }),
  "text.slidingWindow": (c) => ({ ...c, text: { ...c.text, slidingWindow: 4 } }),
  "text.layerTypes": (c) => ({ ...c, text: { ...c.text, layerTypes: [...c.text.layerTypes].reverse() } }),
};

/** Fields that shapes, the loader or the processor read: another value makes another model or other inputs. */
const readElsewhere = [
  "vision.hiddenSize", "vision.intermediateSize", "vision.numHiddenLayers", "vision.numChannels", "vision.imageSize",
  "vision.patchSize", "text.vocabSize", "text.hiddenSize", "text.intermediateSize", "text.numHiddenLayers",
  "text.numAttentionHeads", "text.numKeyValueHeads", "text.headDim", "text.maxPositionEmbeddings",
  "text.finalLogitSoftcapping", "text.postNorms", "text.tieWordEmbeddings", "imageTokenId", "bosTokenId", "eosTokenIds", "padTokenId",
]; // prettier-ignore

describe("every field of the typed config is read", () => {
  before(() => useBackend("cpu"));

  it("and none is forgotten by these tests", () => {
    const { vision, text, ...top } = parseConfig(file("tiny-pg2"));
    const fields = [
      ...Object.keys(vision).map((name) => `vision.${name}`),
      ...Object.keys(text).map((name) => `text.${name}`),
      ...Object.keys(top),
    ];
    assert.deepEqual(fields.sort(), [...Object.keys(changes), ...readElsewhere].sort());
  });

  it("changing a constant moves the logits", async () => {
    const reference = await readReference(path.join(fixtures, "references", "tiny-pg2", "suffix"));
    const inputs = modelInputs(reference);
    const logits = async (change?: (config: PaliGemmaConfig) => PaliGemmaConfig) => {
      const model = await tinyNetwork("tiny-pg2", change ? { change } : {});
      const values = tf.tidy(() => model.forward(inputs).dataSync());
      model.dispose();
      return values;
    };
    const usual = await logits();
    for (const [field, change] of Object.entries(changes)) {
      const moved = Math.max(...(await logits(change)).map((value, i) => Math.abs(value - usual[i])));
      assert.ok(moved > 1e-4, `${field} moves nothing (${moved})`);
    }
    const capped = await tinyNetwork("tiny-pg2", { settings: settingsWith({ finalLogitSoftcapping: "config" }) });
    const peak = tf.tidy(() => capped.forward(inputs).abs().max().dataSync()[0]);
    assert.ok(peak <= 3, `the final cap of 3 is read (${peak})`);
    capped.dispose();
    inputs.pixelValues.dispose();
  });

  it("changing a size makes other weights", () => {
    const small = parseConfig(file("tiny-pg1"));
    const sizes = (change: (config: PaliGemmaConfig) => PaliGemmaConfig) => {
      const model = new PaliGemmaModel(change(small)).build();
      const count = model.parts.reduce((sum, { layer }) => sum + layer.countParams(), 0);
      model.dispose();
      return count;
    };
    const usual = sizes((config) => config);
    const vision = { hiddenSize: 26, intermediateSize: 41, numHiddenLayers: 2, imageSize: 35, patchSize: 14 };
    for (const [name, value] of Object.entries(vision)) {
      assert.notEqual(
        sizes((c) => ({ ...c, vision: { ...c.vision, [name]: value } })),
        usual,
        name,
      );
    }
    const text = { vocabSize: 301, hiddenSize: 34, intermediateSize: 38, numHiddenLayers: 2, numAttentionHeads: 5, numKeyValueHeads: 2, headDim: 10, postNorms: true, tieWordEmbeddings: false }; // prettier-ignore
    for (const [name, value] of Object.entries(text)) {
      assert.notEqual(
        sizes((c) => ({ ...c, text: { ...c.text, [name]: value } })),
        usual,
        name,
      );
    }
  });
});
