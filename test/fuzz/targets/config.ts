import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

import fc from "fast-check";

import { parseConfig } from "../../../src/model/config.js";
import { loadImageProcessorConfig } from "../../../src/input/processor-config.js";
import { loadTokenizer, type Tokenizer } from "../../../src/input/tokenizer/tokenizer.js";
import { parseJson } from "../../../weights/json.js";
import { tinyFolder } from "../../support/tiny.js";
import { memoryFolder, readOrRefused, target } from "../fuzz.js";
import { byteEdits, editedBytes, editedJson, jsonEdits, utf8 } from "../mutations.js";

const bytesOf = (model: string, file: string): Uint8Array =>
  new Uint8Array(readFileSync(path.join(tinyFolder(model), file)));
const jsonOf = (model: string, file: string): unknown => JSON.parse(new TextDecoder().decode(bytesOf(model, file)));

type Fields = Record<string, unknown>;
const own = (of: unknown, name: string): unknown =>
  typeof of === "object" && of !== null && Object.hasOwn(of, name) ? (of as Fields)[name] : undefined;

/**
 * What a field may be where it is left out, apart from the file's own value. Source: transformers 5.18,
 * configuration_*.py.
 */
const TEXT: Record<string, readonly [name: string, ...defaults: unknown[]]> = {
  vocabSize: ["vocab_size", 256000],
  hiddenSize: ["hidden_size", 3072, 2304],
  intermediateSize: ["intermediate_size", 24576, 9216],
  numHiddenLayers: ["num_hidden_layers", 28, 26],
  numAttentionHeads: ["num_attention_heads", 16, 8],
  numKeyValueHeads: ["num_key_value_heads", 16, 4],
  headDim: ["head_dim", 256],
  maxPositionEmbeddings: ["max_position_embeddings", 8192],
  rmsNormEps: ["rms_norm_eps", 1e-6],
};
const VISION: Record<string, readonly [name: string, ...defaults: unknown[]]> = {
  hiddenSize: ["hidden_size", 768],
  intermediateSize: ["intermediate_size", 3072],
  numHiddenLayers: ["num_hidden_layers", 12],
  numAttentionHeads: ["num_attention_heads", 12],
  numChannels: ["num_channels", 3],
  imageSize: ["image_size", 224],
  patchSize: ["patch_size", 14],
  layerNormEps: ["layer_norm_eps", 1e-6],
};

/** Every field is the file's where it has one, and else a default. */
function requireFields(read: object, file: unknown, table: typeof TEXT): void {
  for (const [ours, [theirs, ...defaults]] of Object.entries(table)) {
    const [value, written] = [(read as Fields)[ours], own(file, theirs) ?? undefined];
    assert.ok(typeof value === "number" && value > 0 && Number.isFinite(value), `${ours} is ${String(value)}`);
    if (written !== undefined) assert.equal(value, written, ours);
    else assert.ok(defaults.includes(value), `${ours} is ${value}`);
  }
}

/** Whether a switch is off or not there; anything else would have to be refused. */
const off = (value: unknown): boolean => value === undefined || value === null || value === false;
const on = (value: unknown): boolean => value === undefined || value === null || value === true;

const CONFIGS = ["tiny-pg1", "tiny-pg2", "tiny-pg2-hub"].map((model) => jsonOf(model, "config.json"));

/** config.json with wrong values and names. */
export const configs = target({
  name: "config.json",
  share: 12,
  cases: fc.record({ file: fc.nat(CONFIGS.length - 1), json: jsonEdits(), bytes: byteEdits(1) }),
  check: async ({ file, json, bytes }) => {
    const text = new TextDecoder().decode(editedBytes(utf8(editedJson(CONFIGS[file], json)), bytes));
    const read = await readOrRefused(() => parseConfig(parseJson(text, "config.json")));
    if (read === null) return false;
    const written: unknown = JSON.parse(text);
    const [textFields, visionFields] = [own(written, "text_config"), own(written, "vision_config")];
    requireFields(read.text, textFields, TEXT);
    requireFields(read.vision, visionFields, VISION);
    const { text: decoder, vision } = read;
    assert.ok(Number.isInteger(vision.imageSize / vision.patchSize) && decoder.headDim % 2 === 0);
    assert.equal(decoder.layerTypes.length, decoder.numHiddenLayers);
    for (const id of [read.bosTokenId, read.padTokenId, ...read.eosTokenIds])
      assert.ok(id >= 0 && id < decoder.vocabSize);
    assert.ok(off(own(textFields, "attention_bias")), "attention_bias");
    assert.equal(decoder.tieWordEmbeddings, own(written, "tie_word_embeddings") ?? true);
    assert.ok(["undefined", "boolean"].includes(typeof (own(textFields, "tie_word_embeddings") ?? undefined)), "tied");
    return true;
  },
});

const PROCESSOR = jsonOf("tiny-pg2", "preprocessor_config.json");

/** preprocessor_config.json, and the same inside processor_config.json. */
export const processors = target({
  name: "processor configs",
  share: 10,
  cases: fc.record({ nested: fc.boolean(), json: jsonEdits(), bytes: byteEdits(1) }),
  check: async ({ nested, json, bytes }) => {
    const file = nested ? "processor_config.json" : "preprocessor_config.json";
    const text = editedBytes(utf8(editedJson(nested ? { image_processor: PROCESSOR } : PROCESSOR, json)), bytes);
    const read = await readOrRefused(() => loadImageProcessorConfig(memoryFolder({ [file]: text })));
    if (read === null) return false;
    const whole: unknown = JSON.parse(new TextDecoder().decode(text));
    const fields = nested ? own(whole, "image_processor") : whole;
    const value = (name: string, fallback: unknown) => own(fields, name) ?? fallback;
    for (const step of ["do_resize", "do_rescale", "do_normalize"]) assert.ok(on(own(fields, step)), step);
    assert.equal(read.resample, { 2: "bilinear", 3: "bicubic" }[value("resample", 3) as number]);
    assert.equal(read.rescaleFactor, value("rescale_factor", 1 / 255));
    assert.deepEqual([...read.imageMean], value("image_mean", [0.5, 0.5, 0.5]));
    assert.deepEqual([...read.imageStd], value("image_std", [0.5, 0.5, 0.5]));
    assert.equal(read.imageSeqLength, value("image_seq_length", undefined));
    const size = value("size", undefined);
    const side = (name: string) => (typeof size === "number" ? size : own(size, name));
    if (size === undefined) assert.equal(read.size, undefined);
    else assert.deepEqual(read.size, { height: side("height"), width: side("width") });
    return true;
  },
});

const TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"].map((file) =>
  jsonOf("tiny-pg2", file),
);
const PIECES = bytesOf("tiny-pg2", "tokenizer.model");

/** Tokens of a tokenizer: each name has one id, and each id below the size its name. */
function requireConsistent(tokenizer: Tokenizer, config: unknown): void {
  const size = tokenizer.vocabularySize;
  assert.ok(Number.isSafeInteger(size) && size > 0 && size <= 2 ** 31, `vocabulary of ${size}`);
  for (const id of [tokenizer.bosTokenId, tokenizer.eosTokenId, tokenizer.padTokenId, tokenizer.imageTokenId]) {
    assert.ok(id === undefined || (Number.isSafeInteger(id) && id >= 0 && id < size), `id ${id}`);
  }
  for (const id of tokenizer.encode("detect a cat <loc0001>")) assert.ok(id >= 0 && id < size, `id ${id}`);
  // A role that the file gives is that token's, and one that it gives away is nobody's.
  for (const role of ["bos", "eos", "pad"] as const) {
    const named = own(config, `${role}_token`);
    if (named === undefined) assert.equal(tokenizer[`${role}TokenId`], tokenizer.tokenToId(`<${role}>`), role);
    if (typeof named !== "string") continue;
    assert.equal(tokenizer[`${role}TokenId`], tokenizer.tokenToId(named), role);
  }
}

/** tokenizer.json or tokenizer.model, and the lists of added tokens beside. */
export const tokenizers = target({
  name: "tokenizers",
  share: 3,
  cases: fc.record({
    file: fc.nat(2),
    json: jsonEdits(3),
    pieces: fc.option(byteEdits(3)),
    bytes: byteEdits(1),
  }),
  check: async ({ file, json, pieces, bytes }) => {
    const texts = TOKENIZER.map((value, i) => (i === file ? editedJson(value, json) : JSON.stringify(value)));
    const names = ["tokenizer.json", "tokenizer_config.json", "added_tokens.json"];
    const files = Object.fromEntries(
      names.map((name, i) => [name, i === file ? editedBytes(utf8(texts[i]), bytes) : utf8(texts[i])]),
    );
    if (pieces !== null) files["tokenizer.model"] = editedBytes(PIECES, pieces);
    const read = await readOrRefused(() => loadTokenizer(memoryFolder(files)));
    if (read === null) return false;
    requireConsistent(read, JSON.parse(new TextDecoder().decode(files["tokenizer_config.json"])));
    return true;
  },
});
