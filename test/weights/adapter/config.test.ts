import { strict as assert } from "node:assert";

import { parseAdapterConfig } from "../../../weights/adapter/config.js";
import { WeightsError } from "../../../weights/errors.js";

const parse = (fields: Record<string, unknown>) =>
  parseAdapterConfig({ peft_type: "LORA", target_modules: ["q_proj"], ...fields }, "here");

describe("adapter_config.json", () => {
  it("has PEFT's defaults where it says nothing", () => {
    const { r, loraAlpha, useRslora, useDora, bias, rankPattern, modulesToSave, layersToTransform } = parse({});
    assert.deepEqual([r, loraAlpha, useRslora, useDora, bias], [8, 8, false, false, "none"]);
    assert.deepEqual([rankPattern, modulesToSave, layersToTransform], [[], [], null]);
  });

  it("keeps what it says, a single name as a list of one", () => {
    const config = parse({
      r: 3,
      lora_alpha: 0.5,
      use_rslora: true,
      alpha_pattern: { "b.*": 2, a: 1 },
      layers_to_transform: 4,
      layers_pattern: "layers",
      modules_to_save: ["norm"],
      base_model_name_or_path: "somewhere",
    });
    assert.deepEqual([config.r, config.loraAlpha, config.useRslora], [3, 0.5, true]);
    assert.deepEqual(config.alphaPattern, [
      ["b.*", 2],
      ["a", 1],
    ]);
    assert.deepEqual(
      [config.layersToTransform, config.layersPattern, config.modulesToSave],
      [[4], ["layers"], ["norm"]],
    );
    assert.equal(config.baseModel, "somewhere");
  });

  it("may hold what changes no number, and anything that is switched off", () => {
    const silent = {
      lora_dropout: 0.3,
      fan_in_fan_out: true,
      task_type: "CAUSAL_LM",
      inference_mode: true,
      eva_config: {},
    };
    const off = {
      lora_bias: false,
      arrow_config: null,
      target_parameters: [],
      of_tomorrow: null,
      use_of_tomorrow: false,
    };
    assert.deepEqual(parse({ ...silent, ...off }), parse({}));
    for (const start of [true, false, "gaussian", "eva", "orthogonal", "mica"]) parse({ init_lora_weights: start });
  });

  const changing: Record<string, unknown> = {
    lora_bias: true,
    target_parameters: ["mlp.experts"],
    trainable_token_indices: [3, 4],
    layer_replication: [[0, 2]],
    alora_invocation_tokens: [5],
    arrow_config: { top_k: 2 },
    use_qalora: true,
    use_bdlora: { nblocks: 2 },
    kasa_config: { beta: 1 },
    monteclora_config: { num_samples: 8 },
    velora_config: { num_groups: 2 },
    megatron_config: { hidden_size: 3 },
    field_of_tomorrow: 7,
  };
  for (const [name, value] of Object.entries(changing)) {
    it(`is refused by name for ${name}, which changes numbers`, () => {
      assert.throws(() => parse({ [name]: value }), new RegExp(`^WeightsError: here: ${name} is .* not supported`));
    });
  }

  for (const start of ["pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "of tomorrow"]) {
    it(`is refused for the start "${start}", which takes something out of the base`, () => {
      assert.throws(
        () => parse({ init_lora_weights: start }),
        /^WeightsError: here: init_lora_weights is .* plain adapter/,
      );
    });
  }

  const wrong: Record<string, unknown>[] = [
    { peft_type: "IA3" },
    { peft_type: undefined },
    { r: 0 },
    { r: 1.5 },
    { r: "8" },
    { r: 1e9 },
    { lora_alpha: "16" },
    { lora_alpha: Infinity },
    { use_dora: 1 },
    { target_modules: null },
    { target_modules: [] },
    { target_modules: "" },
    { target_modules: [3] },
    { target_modules: ["q_proj", ""] },
    { exclude_modules: 3 },
    { rank_pattern: ["q_proj"] },
    { rank_pattern: { q_proj: 0 } },
    { alpha_pattern: { q_proj: "1" } },
    { layers_to_transform: [0.5] },
    { layers_to_transform: 1, target_modules: ".*q_proj" },
    { layers_pattern: ["layers"] },
    { bias: "some" },
    { bias: "all", modules_to_save: ["linear"] },
  ];
  for (const fields of wrong) {
    const [name] = Object.keys(fields);
    it(`is refused for ${JSON.stringify(fields)}`, () => {
      assert.throws(
        () => parse(fields),
        (error: Error) => error instanceof WeightsError && error.message.includes(name),
      );
    });
  }

  it("is an object", () => {
    for (const json of [null, [], "LORA", 3]) assert.throws(() => parseAdapterConfig(json, "here"), WeightsError);
  });
});
