import { strict as assert } from "node:assert";
import { readFile } from "node:fs/promises";
import path from "node:path";

import { type PaliGemmaConfig, parseConfig } from "../../../../src/model/config.js";
import { hubConfig } from "../../../../src/checkpoints/saving/hub-config.js";
import { floatFields, jsonFile } from "../../../../src/checkpoints/saving/json-file.js";
import { tinyFolder } from "../../../support/tiny.js";

type Json = Record<string, unknown>;
const textOf = (name: string): Promise<string> => readFile(path.join(tinyFolder(name), "config.json"), "utf8");
const configOf = async (name: string): Promise<Json> => JSON.parse(await textOf(name)) as Json;
const MODELS = ["tiny-pg1", "tiny-pg2", "tiny-pg2-28b"];

describe("saving a config", () => {
  for (const name of MODELS) {
    it(`${name}: the original comes back, but for the type`, async () => {
      const original = await configOf(name);
      const saved = hubConfig(parseConfig(original), original, "bfloat16");
      assert.deepEqual(saved, { ...original, dtype: "bfloat16" });
      assert.equal(original.dtype, "float32", "the original is not touched");
    });

    it(`${name}: without an original every field is written`, async () => {
      const config = parseConfig(await configOf(name));
      const saved = hubConfig(config, null, "float32");
      assert.deepEqual(parseConfig(saved), config);
      assert.deepEqual([saved.architectures, saved.dtype], [["PaliGemmaForConditionalGeneration"], "float32"]);
    });
  }

  it("fields that nobody knows are kept, at every level", async () => {
    const original = await configOf("tiny-pg2");
    const more = { ...original, my_field: { a: [1] }, text_config: { ...(original.text_config as Json), mine: "x" } };
    const config = parseConfig(more);
    assert.deepEqual(hubConfig(config, more, "float32"), more);
    const changed = { ...config, bosTokenId: 5 };
    const saved = hubConfig(changed, more, "float32");
    assert.deepEqual(parseConfig(saved), changed);
    assert.deepEqual([saved.my_field, (saved.text_config as Json).mine], [{ a: [1] }, "x"]);
    assert.equal((saved.text_config as Json).initializer_range, 0.02);
  });

  it("one rotary base is written whatever the original calls it, and not by type of layer, which transformers does not read", async () => {
    const original = await configOf("tiny-pg2");
    const plain = { ...(original.text_config as Json) };
    delete plain.rope_parameters;
    const theta = { rope_type: "default", rope_theta: 5000 };
    const written = (fields: Json, change = {}) => {
      const json = { ...original, text_config: { ...plain, ...fields } };
      const text = hubConfig({ ...parseConfig(json), ...change }, json, "float32").text_config as Json;
      return [text.rope_parameters, text.rope_scaling, text.rope_theta];
    };
    const nested = { full_attention: theta, sliding_attention: theta };
    assert.deepEqual(written({ rope_parameters: nested }), [theta, undefined, 5000]);
    assert.deepEqual(written({ rope_scaling: theta }), [undefined, theta, undefined]);
    assert.deepEqual(written({ rope_scaling: theta }, { bosTokenId: 5 }), [theta, undefined, 5000]);
  });

  it("what a config says is written where it differs from the original: every field", async () => {
    const original = await configOf("tiny-pg2");
    const config = parseConfig(original);
    const text = { ...config.text };
    const vision = { ...config.vision };
    const changes: PaliGemmaConfig[] = [
      { ...config, imageTokenId: 298 },
      { ...config, bosTokenId: 6 },
      { ...config, padTokenId: 7 },
      { ...config, eosTokenIds: [1, 107] },
      ...Object.entries({
        vocabSize: 310,
        hiddenSize: 64,
        intermediateSize: 50,
        numHiddenLayers: 4,
        numAttentionHeads: 8,
        numKeyValueHeads: 4,
        headDim: 32,
        maxPositionEmbeddings: 99,
        rmsNormEps: 1e-5,
        ropeTheta: 12345,
        queryPreAttnScalar: 9,
        attnLogitSoftcapping: null,
        finalLogitSoftcapping: 4,
        slidingWindow: null,
        layerTypes: Array<string>(4).fill("full_attention"),
      }).map(([name, value]) => ({ ...config, text: { ...text, [name]: value } })),
      ...Object.entries({
        hiddenSize: 48,
        intermediateSize: 41,
        numHiddenLayers: 5,
        numAttentionHeads: 3,
        imageSize: 35,
        patchSize: 4,
        layerNormEps: 1e-5,
      }).map(([name, value]) => ({ ...config, vision: { ...vision, [name]: value } })),
    ];
    for (const changed of changes) {
      assert.deepEqual(parseConfig(hubConfig(changed, original, "float32")), changed);
      assert.deepEqual(parseConfig(hubConfig(changed, null, "float32")), changed);
    }
    const first = { ...config, text: { ...parseConfig(await configOf("tiny-pg1")).text, hiddenSize: 32 } };
    assert.deepEqual(parseConfig(hubConfig(first, null, "float32")), first);
  });

  it("the type stands once, in the word that the original has; not at all for several", async () => {
    const original = await configOf("tiny-pg1");
    const old = {
      ...original,
      dtype: undefined,
      torch_dtype: "float32",
      text_config: { ...(original.text_config as Json), torch_dtype: "float32" },
    };
    const saved = hubConfig(parseConfig(old), old, "float16");
    assert.deepEqual([saved.torch_dtype, saved.dtype], ["float16", undefined]);
    assert.ok(!("torch_dtype" in (saved.text_config as Json)));
    assert.ok(!("dtype" in hubConfig(parseConfig(original), original, "mixed")));
  });

  it("what it says of quantised weights is left out", async () => {
    const original = { ...(await configOf("tiny-pg2")), quantization_config: { load_in_4bit: true } };
    assert.ok(!("quantization_config" in hubConfig(parseConfig(original), original, "bfloat16")));
  });

  it("floats with whole values keep their point, as transformers 5 demands", async () => {
    const text = await textOf("tiny-pg2");
    const written = Buffer.from(jsonFile(JSON.parse(text) as object)).toString();
    assert.match(written, /"final_logit_softcapping": 3\.0,/);
    assert.match(written, /"rope_theta": 10000\.0,/);
    assert.match(written, /"attention_dropout": 0\.0,/);
    assert.match(written, /"query_pre_attn_scalar": 12,/);
    assert.equal(written.replaceAll("0.000001", "1e-06"), text);
    const other = '{"my_float": 2.0, "my_int": 2, "list": [1.0], "last": -1.0}';
    assert.deepEqual([...floatFields(other)], ["my_float", "last"]);
    const again = Buffer.from(jsonFile(JSON.parse(other) as object, floatFields(other))).toString();
    assert.match(again, /"my_float": 2\.0,\n {2}"my_int": 2,[^]*"last": -1\.0\n/);
  });
});
