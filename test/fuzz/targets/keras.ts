import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import path from "node:path";

import fc from "fast-check";

import { parseConfig } from "../../../src/model/config.js";
import { configOfPreset, isKerasConfig } from "../../../src/loading/keras-preset.js";
import { entriesOf } from "../../../weights/array-part.js";
import type { WeightFiles } from "../../../weights/checkpoint-entry.js";
import { bytesOf } from "../../../weights/dtype.js";
import { type H5File, openH5 } from "../../../weights/h5-file.js";
import { parseJson } from "../../../weights/json.js";
import { openKeras } from "../../../weights/keras-files.js";
import { kerasParts } from "../../../weights/keras-names.js";
import { openFolder } from "../../../weights/source.js";
import { inTemporaryFolder } from "../../support/temporary.js";
import { fixtures } from "../../parity/reference.js";
import { readOrRefused, requireEachKeyOnce, target } from "../fuzz.js";
import { type ByteEdit, byteEdits, editedBytes, editedJson, jsonEdits, utf8 } from "../mutations.js";

const read = (...names: string[]): Uint8Array => new Uint8Array(readFileSync(path.join(fixtures, "keras", ...names)));
const json = (...names: string[]): unknown => JSON.parse(new TextDecoder().decode(read(...names)));

const SHARD = read("tiny-pg2-sharded", "model_00002.weights.h5");

type Place = { start: number; end: number };

/**
 * Where a whole file of Keras says that values are: each array's address and size, as they are written. Source: HDF5
 * File Format Specification 4.0, IV.A.2.i.
 */
function placesIn(file: Uint8Array): Place[] {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
  const places: Place[] = [];
  for (let at = bytes.indexOf("\x03\x01", 0, "latin1"); at >= 0; at = bytes.indexOf("\x03\x01", at + 1, "latin1")) {
    if (at + 18 > bytes.length) break;
    const [start, size] = [Number(bytes.readBigUInt64LE(at + 2)), Number(bytes.readBigUInt64LE(at + 10))];
    if (start + size <= bytes.length) places.push({ start, end: start + size });
  }
  return places;
}

/** What stands between the values of the whole shard: everything that describes them. */
const DESCRIBING: readonly Place[] = (() => {
  const values = placesIn(SHARD).sort((a, b) => a.start - b.start);
  const starts = [0, ...values.map(({ end }) => end)];
  const ends = [...values.map(({ start }) => start), SHARD.length];
  return starts.map((start, i) => ({ start, end: ends[i] })).filter(({ start, end }) => start < end);
})();

/** A place among what describes the values, where nearly every byte counts. */
function describing(number: number): number {
  let rest = number % DESCRIBING.reduce((sum, { start, end }) => sum + end - start, 0);
  for (const { start, end } of DESCRIBING) {
    if (rest < end - start) return start + rest;
    rest -= end - start;
  }
  return 0;
}

/**
 * Every array's bytes are somewhere in the file, one after another, or were never written: nothing of the library's
 * memory.
 */
async function requireInFile({ arrays }: H5File, file: Uint8Array): Promise<boolean> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.length);
  let all = true;
  for (const [name, array] of arrays) {
    const size = array.shape.reduce((product, axis) => product * axis, bytesOf(array.dtype));
    assert.ok(array.shape.every((axis) => Number.isSafeInteger(axis) && axis >= 0) && name === array.name);
    if (size > file.length) {
      await readOrRefused(() => array.read(0, 64)); // more than there is: refused, or values that were never written
      continue;
    }
    const values = await readOrRefused(() => array.read(0, size));
    all &&= values !== null;
    if (values === null || size === 0) continue;
    assert.equal(values.length, size);
    assert.ok(
      bytes.includes(Buffer.from(values)) || values.every((byte) => byte === 0),
      `${name}: bytes that are nowhere in the file`,
    );
  }
  // Names that damage has changed are names of arrays that no model has; numbers of layers stay within bounds.
  const stored = new Map([...arrays].map(([name, array]) => [name, { ...array, file: "file", place: null }]));
  return (await readOrRefused(() => entriesOf(stored, kerasParts(new Set(stored.keys()), "file")))) !== null && all;
}

/** What is done in place of edits that change a file's length, for that alone has it refused. */
const OF_ONE_LENGTH: Readonly<Record<string, ByteEdit["op"]>> = { cut: "word", delete: "long", insert: "set" };

/**
 * HDF5 files with wrong bytes, most of them in what describes the values. Few: the library takes ten milliseconds for
 * each.
 */
export const h5Files = target({
  name: "Keras weights",
  share: 4,
  cases: fc.record({ inside: fc.boolean(), edits: byteEdits(3) }),
  check: async ({ inside, edits }) =>
    inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "model.weights.h5");
      const moved = edits.map((edit) =>
        inside ? { ...edit, op: OF_ONE_LENGTH[edit.op] ?? edit.op, at: describing(edit.at) } : edit,
      );
      const changed = editedBytes(SHARD, moved);
      await writeFile(file, changed);
      const h5: H5File | null = await readOrRefused(() => openH5(file));
      try {
        return h5 !== null && (await requireInFile(h5, changed));
      } finally {
        await h5?.close();
      }
    }),
});

/** A small file of these variables, as h5wasm writes it. */
async function written(variables: Record<string, number[]>): Promise<Uint8Array> {
  const { File, ready } = await import("h5wasm");
  const { FS } = await ready;
  const file = new File("/shard.h5", "w");
  for (const [name, values] of Object.entries(variables)) {
    const folders = name.split("/").slice(0, -1);
    folders.forEach((_, i) => {
      const folder = folders.slice(0, i + 1).join("/");
      if (file.get(folder) === null) file.create_group(folder);
    });
    file.create_dataset({ name, data: Float32Array.from(values), shape: [values.length], dtype: "<f" });
  }
  file.close();
  const bytes = FS.readFile("/shard.h5") as Uint8Array;
  FS.unlink("/shard.h5");
  return bytes;
}

const NORM = "layers/rms_normalization/vars";
const BLOCK = "layers/pali_gemma_decoder_block";
const SHARDS: Readonly<Record<string, Record<string, number[]>>> = {
  "one.weights.h5": {
    [`${NORM}/0`]: [1, 2],
    [`${BLOCK}/pre_ffw_norm/vars/0`]: [3],
    "layers/seed_generator/vars/0": [9],
  },
  "two.weights.h5": { [`${BLOCK}_1/pre_ffw_norm/vars/0`]: [4, 5, 6], "layers/other/vars/0": [7] },
};
const weightMap = Object.fromEntries(
  Object.entries(SHARDS).flatMap(([file, variables]) =>
    Object.keys(variables).map((name) => [`/${name.replace(/\/\d+$/, "")}`, file]),
  ),
);
const totalSize = 4 * 7;
let shards: Promise<Record<string, Uint8Array>> | null = null;
const shardBytes = async (): Promise<Record<string, Uint8Array>> =>
  Object.fromEntries(
    await Promise.all(Object.entries(SHARDS).map(async ([name, of]) => [name, await written(of)] as const)),
  );

/** Indexes that say something wrong of two right shards, and shards that are another's. */
export const kerasIndexes = target({
  name: "indexes of Keras weights",
  share: 5,
  cases: fc.record({ json: jsonEdits(), bytes: byteEdits(1), swap: fc.nat(9) }),
  check: async ({ json, bytes, swap }) =>
    inTemporaryFolder(async (folder) => {
      const files = { ...(await (shards ??= shardBytes())) };
      if (swap === 0) files["one.weights.h5"] = files["two.weights.h5"];
      for (const [name, of] of Object.entries(files)) await writeFile(path.join(folder, name), of);
      const text = editedBytes(
        utf8(editedJson({ metadata: { total_size: totalSize }, weight_map: weightMap }, json)),
        bytes,
      );
      await writeFile(path.join(folder, "model.weights.json"), text);
      const opened = await openFolder(folder);
      const found: WeightFiles | null = await readOrRefused(() => openKeras(opened, "model.weights.json"));
      if (found === null) return false;
      requireEachKeyOnce(new TextDecoder().decode(text));
      await requireAsWritten(found, JSON.parse(new TextDecoder().decode(text)) as Index);
      await found.close();
      return true;
    }),
});

type Index = { metadata?: { total_size?: unknown }; weight_map: Record<string, string | string[]> };

/** Every array is there that the index's files hold, with its values, and in a file that the index gives for it. */
async function requireAsWritten({ entries }: WeightFiles, { metadata, weight_map: map }: Index): Promise<void> {
  const named = [...new Set(Object.values(map).flat())];
  const expected = named.flatMap((file) =>
    Object.keys(SHARDS[file]).filter((name) => !name.includes("seed_generator")),
  );
  assert.deepEqual([...entries.values()].map(({ name }) => name).sort(), expected.sort());
  for (const entry of entries.values()) {
    const values = SHARDS[entry.file][entry.name];
    const folder = entry.name.replace(/\/\d+$/, "");
    assert.ok([map[folder] ?? [], map[`/${folder}`] ?? []].flat().includes(entry.file), entry.name);
    assert.ok(!("start" in entry), "nothing of HDF5 is mapped");
    assert.deepEqual(new Uint8Array(await entry.read(() => {})), new Uint8Array(Float32Array.from(values).buffer));
  }
  const total =
    4 *
    expected.reduce((sum, name) => sum + named.reduce((all, file) => all + (SHARDS[file][name]?.length ?? 0), 0), 0);
  const said = metadata?.total_size;
  assert.ok(typeof said !== "number" || said >= total, `total_size ${String(said)} of ${total}`);
}

const PRESETS = ["tiny-pg1-task", "tiny-pg2-sharded"].map((name) => json(name, "config.json"));

/**
 * Fields of a preset by ours, and what each is where it is left out. Source: keras-hub 0.32,
 * models/pali_gemma/pali_gemma_backbone.py.
 */
const TEXT: Readonly<Record<string, string>> = {
  vocabSize: "vocabulary_size",
  hiddenSize: "hidden_dim",
  numHiddenLayers: "num_layers",
  numAttentionHeads: "num_query_heads",
  numKeyValueHeads: "num_key_value_heads",
  headDim: "head_dim",
};
const VISION: Readonly<Record<string, string>> = {
  hiddenSize: "vit_hidden_dim",
  numHiddenLayers: "vit_num_layers",
  numAttentionHeads: "vit_num_heads",
  patchSize: "vit_patch_size",
  imageSize: "image_size",
};

/** config.json of a preset with wrong values and names. */
export const presets = target({
  name: "configs of Keras presets",
  share: 8,
  cases: fc.record({ file: fc.nat(PRESETS.length - 1), json: jsonEdits(), bytes: byteEdits(1) }),
  check: async ({ file, json, bytes }) => {
    const text = new TextDecoder().decode(editedBytes(utf8(editedJson(PRESETS[file], json)), bytes));
    const read = await readOrRefused(() => {
      const written = parseJson(text, "config.json");
      return isKerasConfig(written) ? parseConfig(configOfPreset(written, "config.json"), "config.json") : null;
    });
    if (read === null) return false;
    const { config } = JSON.parse(text) as { config: Record<string, unknown> };
    const own = (name: string): unknown => (Object.hasOwn(config, name) ? config[name] : undefined) ?? undefined;
    for (const [ours, theirs] of Object.entries(TEXT)) assert.equal(read.text[ours as "headDim"], own(theirs), theirs);
    for (const [ours, theirs] of Object.entries(VISION))
      assert.equal(read.vision[ours as "patchSize"], own(theirs), theirs);
    assert.equal(2 * read.text.intermediateSize, own("intermediate_dim"));
    assert.equal(read.vision.intermediateSize, own("vit_intermediate_dim") ?? 4304);
    assert.deepEqual([own("vit_pooling"), own("layer_norm_epsilon") ?? 1e-6], [undefined, 1e-6]);
    const two = own("use_post_ffw_norm") === true;
    assert.deepEqual([read.text.postNorms, own("use_post_attention_norm") === true], [two, two]);
    assert.equal(read.text.attnLogitSoftcapping, own("attention_logit_soft_cap") ?? null);
    assert.equal(read.text.finalLogitSoftcapping, own("final_logit_soft_cap") ?? null);
    assert.equal(read.imageTokenId, read.text.vocabSize, "<image> is behind the vocabulary");
    return true;
  },
});
