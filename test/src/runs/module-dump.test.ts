import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { compareRuns, type RunDifference } from "../../../src/inspection/compare-runs.js";
import { withHeadsOf } from "../../../src/runs/module-dump.js";
import { hooksOfModule, type ModuleContext, type ModuleTensor } from "../../../src/inspection/module-names.js";
import { readRun } from "../../../src/runs/run-files.js";
import { encodeSafetensors, memorySource, readHeader, type TensorData } from "../../../weights/index.js";
import { fixtures } from "../../parity/reference.js";
import { weightsError, withFolder } from "../../weights/helpers.js";

const dump = (model: string): string => path.join(fixtures, "dumps", model);
const tapsOf = (model: string) => readRun(path.join(fixtures, "references", model, "prompt", "taps.safetensors"));

/** The files of a dump by name. */
const filesOf = (model: string): Record<string, Uint8Array> =>
  Object.fromEntries(
    readdirSync(dump(model)).map((name) => [name, new Uint8Array(readFileSync(path.join(dump(model), name)))]),
  );

/** Entries of a dump against the recorded activations, but for what the dump has not got. */
async function against(folder: string, model: string): Promise<{ notes: string[]; entries: RunDifference[] }> {
  const [{ tensors, notes }, { tensors: taps }] = [await readRun(folder), await tapsOf(model)];
  const entries = compareRuns(withHeadsOf(tensors, taps), taps);
  return { notes, entries: entries.filter(({ kind }) => kind !== "only in b") };
}

function assertSame(entries: readonly RunDifference[], count: number): void {
  assert.equal(entries.length, count);
  for (const one of entries) assert.ok(one.kind === "compared" && one.relative < 1e-6, JSON.stringify(one));
}

describe("module dumps of transformers", () => {
  for (const [model, count] of [
    ["tiny-pg2", 47],
    ["tiny-pg1", 17],
  ] as const) {
    it(`of ${model} are the recorded activations under our names, in the order of computation`, async () => {
      const { notes, entries } = await against(dump(model), model);
      assertSame(entries, count);
      assert.deepEqual(notes, []);
      const order = [...(await tapsOf(model)).tensors.keys()];
      const names = entries.map(({ name }) => name);
      assert.deepEqual(
        names,
        order.filter((name) => names.includes(name)),
      );
    });
  }

  it("have their heads flat until the other side's shape is known", async () => {
    const { tensors } = await readRun(dump("tiny-pg2"));
    const name = "language.blocks.0.attn.hook_q";
    assert.deepEqual(tensors.get(name)!.shape, [1, 22, 64]);
    const shaped = (shape: number[], at = name) =>
      withHeadsOf(tensors, new Map([[at, { shape, data: new Float32Array(0) }]])).get(at)!.shape;
    assert.deepEqual(shaped([1, 22, 4, 16]), [1, 22, 4, 16]);
    assert.deepEqual(shaped([1, 22, 4, 8]), [1, 22, 64]);
    assert.deepEqual(shaped([1, 21, 4, 16]), [1, 22, 64]);
    assert.deepEqual(shaped([1, 22, 2, 16], "language.blocks.0.hook_attn_out"), [1, 22, 32]);
  });

  it("with the names of transformers before 4.52 are read the same", () =>
    withFolder(
      Object.fromEntries(
        Object.entries(filesOf("tiny-pg2")).map(([name, bytes]) => [
          name
            .replace(".model.vision_tower.", ".vision_tower.vision_model.")
            .replace(".model.multi_modal_projector.", ".multi_modal_projector.")
            .replace(".model.language_model.", ".language_model.model.")
            .replace(".lm_head", ".language_model.lm_head"),
          bytes,
        ]),
      ),
      async (folder) => assertSame((await against(folder, "tiny-pg2")).entries, 47),
    ));

  it("say where embeddings were recorded before their scale", async () => {
    const files = filesOf("tiny-pg2");
    const name = Object.keys(files).find((file) => file.includes("embed_tokens_outputs"))!;
    const { tensors } = await readHeader(memorySource(name, files[name]));
    const { shape, start, end } = tensors.get("data")!;
    const values = new Float32Array(files[name].slice(start, end).buffer).map((value) => value / Math.sqrt(32));
    files[name] = encodeSafetensors(new Map([["data", { dtype: "F32", shape, data: values }]]));
    const note = /^language\.hook_embed: transformers before 5\.4 records embed_tokens before the factor/;
    await withFolder(files, async (folder) => assert.match((await readRun(folder)).notes.join(), note));
    // Nor can it be told without the first block's input.
    const blind = filesOf("tiny-pg2");
    delete blind[Object.keys(blind).find((file) => file.includes("language_model.layers.0_inputs"))!];
    await withFolder(blind, async (folder) => assert.match((await readRun(folder)).notes.join(), note));
  });

  it("leave embeddings out when the rows of text cannot be told", async () => {
    const files = filesOf("tiny-pg2");
    delete files[Object.keys(files).find((file) => file.includes("_input_ids"))!];
    await withFolder(files, async (folder) => {
      const { tensors, notes } = await readRun(folder);
      assert.equal(tensors.has("language.hook_embed"), false);
      assert.match(notes.join(), /language\.hook_embed: left out/);
    });
  });

  it("of rows with unequal numbers of text show them one after another", () => {
    const file = (shape: number[], values: number[]): Map<string, TensorData> =>
      new Map([["data", { dtype: "F32", shape, data: Float32Array.from(values) }]]);
    const ids: TensorData = { dtype: "I64", shape: [2, 3], data: BigInt64Array.of(9n, 5n, 6n, 9n, 9n, 5n) };
    const at = "PaliGemmaForConditionalGeneration";
    const files = {
      [`${at}_inputs_kwargs_input_ids.safetensors`]: new Map([["data", ids]]),
      [`${at}.model.multi_modal_projector.linear_outputs.safetensors`]: file([3, 1, 2], [1, 1, 2, 2, 3, 3]),
      [`${at}.model.language_model.embed_tokens_outputs.safetensors`]: file([2, 3, 1], [10, 11, 12, 13, 14, 15]),
    };
    return withFolder(files, async (folder) => {
      const { shape, data } = (await readRun(folder)).tensors.get("language.hook_embed")!;
      assert.deepEqual(
        [shape, [...data]],
        [
          [1, 3, 1],
          [11, 12, 15],
        ],
      );
    });
  });

  it("that hold text, nothing of it, or another key are refused in words", async () => {
    const tree = "PaliGemmaForConditionalGeneration_debug_tree_FULL_TENSORS.json";
    await withFolder({ [tree]: "{}" }, (folder) =>
      assert.rejects(readRun(folder), weightsError(/holds tensors as text; make it with use_repr=False/)),
    );
    await withFolder({ "model.safetensors": new Map() }, (folder) =>
      assert.rejects(readRun(folder), weightsError(/found no file such as CLASS\.MODULE_outputs\.safetensors/)),
    );
    const other = new Map<string, TensorData>([["x", { dtype: "F32", shape: [1], data: new Float32Array(1) }]]);
    await withFolder({ "A.lm_head_outputs.safetensors": other }, (folder) =>
      assert.rejects(readRun(folder), weightsError(/lm_head_outputs\.safetensors: expected a tensor "data"/)),
    );
  });
});

describe("names of modules", () => {
  const context: ModuleContext = { postNorms: true, blocks: { vision: 27, language: 26 } };
  const hooks = (side: ModuleTensor["side"], module: string, at = context) =>
    hooksOfModule({ module, side }, at).map(({ hook }) => hook);

  it("are known in every era's spelling", () => {
    for (const tower of [
      "model.vision_tower",
      "model.vision_tower.vision_model",
      "vision_tower.vision_model",
      "vision_tower",
    ]) {
      assert.deepEqual(hooks("output", `${tower}.encoder.layers.13.mlp.fc1`), ["vision.blocks.13.mlp.hook_pre"]);
    }
    for (const decoder of ["model.language_model", "language_model.model", "language_model"]) {
      assert.deepEqual(hooks("input", `${decoder}.layers.5.self_attn.o_proj`), ["language.blocks.5.attn.hook_z"]);
      assert.deepEqual(hooks("input", `${decoder}.norm`), ["language.blocks.25.hook_resid_post"]);
    }
    for (const head of ["lm_head", "language_model.lm_head"]) {
      assert.deepEqual(hooks("output", head), ["language.unembed.hook_out"]);
    }
  });

  it("mean another norm with post-norms than without", () => {
    const module = "model.language_model.layers.2.post_attention_layernorm";
    assert.deepEqual(hooks("output", module), [
      "language.blocks.2.ln1_post.hook_out",
      "language.blocks.2.hook_attn_out",
    ]);
    assert.deepEqual(hooks("input", module), []);
    const gemma = { ...context, postNorms: false };
    assert.deepEqual(hooks("output", module, gemma), ["language.blocks.2.ln2.hook_out"]);
    assert.deepEqual(hooks("input", module, gemma), ["language.blocks.2.hook_resid_mid"]);
  });

  it("that are no hook have none", () => {
    for (const module of [
      "model.language_model.rotary_emb",
      "x",
      "model.language_model.layers.0.mlp.act_fn",
      "lm_head.x",
    ]) {
      assert.deepEqual([hooks("input", module), hooks("output", module)], [[], []]);
    }
    assert.deepEqual(hooks("output", "model.language_model.layers.3"), []);
    assert.deepEqual(hooks("input", "lm_head"), []);
  });
});
