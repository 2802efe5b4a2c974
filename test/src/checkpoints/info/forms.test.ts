import assert from "node:assert/strict";
import { cp, rm } from "node:fs/promises";
import path from "node:path";

import { checkpointInfo } from "../../../../src/checkpoints/info/index.js";
import { WeightsError } from "../../../../weights/errors.js";
import { fixtures } from "../../../parity/reference.js";
import { PUBLISHED_SHAPES, withPublishedArchive } from "../../../support/published-archive.js";
import { cli } from "../../../support/run-cli.js";
import { inTemporaryFolder } from "../../../support/temporary.js";
import { tinyFolder } from "../../../support/tiny.js";

const archive = path.join(fixtures, "npz", "tiny-pg2", "bf16.npz");
const preset = path.join(fixtures, "keras", "tiny-pg1-task");
const sharded = path.join(fixtures, "keras", "tiny-pg2-sharded");
const VOCABULARY = "assets/tokenizer/vocabulary.spm";
const NO_TOKENIZER = "tokenizer.model or tokenizer.json";

/** Parts and memory of a form are those of the same tensors in safetensors, but for the one row that is not there. */
async function expectSame(place: string, twin: string): Promise<void> {
  const [ours, theirs] = [await checkpointInfo(place), await checkpointInfo(tinyFolder(twin))];
  const { embedding, ...parts } = ours.parts;
  const { embedding: table, ...others } = theirs.parts;
  assert.deepEqual(parts, others);
  assert.equal(table.parameters - embedding.parameters, 32);
  assert.equal(theirs.parameters.total - ours.parameters.total, 32);
  assert.equal(theirs.bytesByForm.BF16 - ours.bytesByForm.BF16, 64);
  assert.equal(theirs.memory.float32 - ours.memory.float32, 4 * 32);
  assert.deepEqual([ours.variant, ours.imageTokens], [theirs.variant, theirs.imageTokens]);
}

describe("checkpointInfo of other forms", () => {
  it("counts an archive of big_vision and presets of Keras as it counts the same tensors in safetensors", async () => {
    await expectSame(archive, "tiny-pg2-bf16");
    await expectSame(preset, "tiny-pg1-bf16");
    await expectSame(sharded, "tiny-pg2-bf16");
  });

  it("names the form and its files", async () => {
    const layout = async (place: string) => (await checkpointInfo(place)).layout;
    const own = { names: null, prefix: "" };
    assert.deepEqual(await layout(archive), { form: "big_vision", files: ["bf16.npz"], ...own });
    assert.deepEqual(await layout(preset), { form: "keras", files: ["model.weights.h5"], ...own });
    const shards = ["0", "1", "2"].map((i) => `model_0000${i}.weights.h5`);
    assert.deepEqual(await layout(sharded), { form: "keras", files: shards, ...own });
  });

  it("statistics of a tensor that lies transposed are those of the same one in safetensors", async () => {
    const options = { tensors: "language_model.model.layers.1.**" };
    const statistics = async (place: string) => {
      const { tensors = [] } = await checkpointInfo(place, options);
      return new Map(tensors.map(({ name, shape, statistics }) => [name, { shape, ...statistics! }]));
    };
    const expected = await statistics(tinyFolder("tiny-pg2-bf16"));
    assert.equal(expected.size, 11);
    for (const place of [archive, sharded]) {
      const found = await statistics(place);
      assert.deepEqual([...found.keys()].sort(), [...expected.keys()].sort());
      for (const [name, { mean, std, ...rest }] of found) {
        const { mean: theirMean, std: theirStd, ...others } = expected.get(name)!;
        assert.deepEqual(rest, others);
        assert.ok(Math.abs(mean! - theirMean!) < 1e-12 && Math.abs(std! - theirStd!) < 1e-12, name);
      }
    }
  });

  it("an archive lacks a tokenizer and nothing else; a config.json beside it is found", async () => {
    assert.deepEqual((await checkpointInfo(archive)).files, { found: ["config.json"], missing: [NO_TOKENIZER] });
    await inTemporaryFolder(async (folder) => {
      await cp(path.dirname(archive), folder, { recursive: true });
      await cp(path.join(tinyFolder("tiny-pg2"), "tokenizer.model"), path.join(folder, "tokenizer.model"));
      const { files, tokenizer } = await checkpointInfo(path.join(folder, "bf16.npz"), { tokenizer: true });
      assert.deepEqual(files, { found: ["config.json", "tokenizer.model"], missing: [] });
      assert.ok(tokenizer && "kind" in tokenizer && tokenizer.ids.image === 299);
    });
  });

  it("a published archive needs no config.json: variant and sizes are those of its shapes, read from its headers", async () => {
    const sent = await withPublishedArchive(async (url) => {
      const { variant, files, parameters, bytesByForm, imageTokens, config } = await checkpointInfo(url);
      const total = Object.values(PUBLISHED_SHAPES).reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
      assert.deepEqual([variant, imageTokens], ["PaliGemma 1, 224 px", 256]);
      assert.deepEqual([parameters.total, bytesByForm.BF16], [total, 2 * total]);
      assert.equal(config.text.vocabSize, 257_152);
      assert.deepEqual(files, { found: [], missing: [NO_TOKENIZER] });
      const { code, stdout } = await cli("info", "--model", url);
      assert.equal(code, 0);
      assert.match(stdout, /^files +none beside the weights; missing: tokenizer\.model or tokenizer\.json$/m);
    });
    assert.ok(sent < 10e6, `${sent} of 5.8 GB`);
  });

  it("a preset's tokenizer is its vocabulary, and without that nothing else of it is one", async () => {
    const whole = await checkpointInfo(preset, { tokenizer: true });
    assert.deepEqual(whole.files, { found: ["config.json", VOCABULARY], missing: [] });
    const { tokenizer } = whole;
    assert.ok(tokenizer && "kind" in tokenizer, JSON.stringify(tokenizer));
    assert.deepEqual(
      [tokenizer.kind, tokenizer.ids],
      ["sentencepiece", { bos: 2, eos: 1, pad: 0, unk: 3, image: 299 }],
    );
    await inTemporaryFolder(async (folder) => {
      await cp(preset, folder, { recursive: true });
      await rm(path.join(folder, "assets"), { recursive: true });
      const lacking = await checkpointInfo(folder, { tokenizer: true });
      assert.deepEqual(lacking.files, { found: ["config.json"], missing: [`${VOCABULARY} or tokenizer.model`] });
      assert.ok(lacking.tokenizer && "error" in lacking.tokenizer);
    });
  });

  it("a tokenizer.model counts before a preset's vocabulary, and that counts beside weights of any form, as loading has it", () =>
    inTemporaryFolder(async (folder) => {
      const tiny = (file: string) => path.join(tinyFolder("tiny-pg1"), file);
      const put = (file: string) => cp(tiny(file), path.join(folder, file));
      await cp(preset, folder, { recursive: true });
      for (const file of ["tokenizer.model", "preprocessor_config.json"]) await put(file);
      const both = ["config.json", "tokenizer.model", "tokenizer.json", "preprocessor_config.json"];
      assert.deepEqual((await checkpointInfo(folder)).files, { found: both, missing: [] });
      for (const file of ["config.json", "model.safetensors"]) await put(file);
      await rm(path.join(folder, "tokenizer.model"));
      const { files, layout, tokenizer } = await checkpointInfo(folder, { tokenizer: true });
      assert.equal(layout.form, "safetensors");
      assert.deepEqual(files, { found: ["config.json", VOCABULARY, "preprocessor_config.json"], missing: [] });
      assert.ok(tokenizer && "kind" in tokenizer);
    }));

  it("a preset without its config is no model", () =>
    inTemporaryFolder(async (folder) => {
      await cp(sharded, folder, { recursive: true });
      await rm(path.join(folder, "config.json"));
      await assert.rejects(checkpointInfo(folder), /there is no config\.json/);
      await rm(path.join(folder, "model_00001.weights.h5"));
      await cp(path.join(sharded, "config.json"), path.join(folder, "config.json"));
      await assert.rejects(checkpointInfo(folder), WeightsError);
    }));

  it("an adapter is compared with either", async () => {
    const adapters = [path.join(fixtures, "adapters", "tiny-pg2", "lists")];
    for (const place of [archive, sharded]) {
      assert.ok((await checkpointInfo(place, { adapters })).adapters![0].counts!.modules > 0);
    }
  });
});

describe("paligemma info of other forms", () => {
  it("describes an archive and a preset, with what each lacks, and lists the tensors by the arrays that hold them", async () => {
    const ofArchive = await cli("info", "--model", archive, "--tensors", "**.norm.weight");
    assert.deepEqual([ofArchive.code, ofArchive.stderr], [0, ""]);
    for (const line of [
      /^names +of big_vision, in bf16\.npz$/m,
      /^files +config\.json; missing: tokenizer\.model or tokenizer\.json$/m,
      /^tokenizer +cannot be used: .*neither tokenizer\.model nor tokenizer\.json/m,
      /^language_model\.model\.norm\.weight BF16 \[32\] min/m,
    ])
      assert.match(ofArchive.stdout, line);
    const ofPreset = await cli("info", "--model", preset, "--tensors", "layers/rms_normalization/**");
    assert.deepEqual([ofPreset.code, ofPreset.stderr], [0, ""]);
    for (const line of [
      /^names +of keras, in model\.weights\.h5$/m,
      /^files +config\.json, assets\/tokenizer\/vocabulary\.spm$/m,
      /^tokenizer +sentencepiece, .* image 299/m,
      /^language_model\.model\.norm\.weight BF16 \[32\] min/m,
    ])
      assert.match(ofPreset.stdout, line);
    const json = await cli("info", "--model", sharded, "--json");
    const { layout, files } = JSON.parse(json.stdout) as { layout: object; files: object };
    assert.deepEqual(files, { found: ["config.json"], missing: [`${VOCABULARY} or tokenizer.model`] });
    assert.ok(JSON.stringify(layout).includes("model_00002.weights.h5"));
  });
});
