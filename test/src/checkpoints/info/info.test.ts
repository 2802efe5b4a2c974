import assert from "node:assert/strict";
import path from "node:path";

import { checkpointInfo } from "../../../../src/checkpoints/info/index.js";
import { RunningStatistics } from "../../../../src/checkpoints/info/statistics.js";
import { InputError } from "../../../../src/base/errors.js";
import { WeightsError } from "../../../../weights/errors.js";
import { readTensors } from "../../../parity/reference.js";
import { adapterFolder } from "../../../support/adapters.js";
import { cli } from "../../../support/run-cli.js";
import { tinyFolder } from "../../../support/tiny.js";

const tiny = tinyFolder("tiny-pg2");

describe("checkpointInfo", () => {
  it("names the layout of every spelling that transformers and robots save", async () => {
    const names = async (folder: string) => (await checkpointInfo(tinyFolder(folder))).layout.names;
    assert.deepEqual(
      [
        await names("tiny-pg2-hub"),
        await names("tiny-pg2"),
        await names("tiny-pg2-model-prefix"),
        await names("tiny-pg2-in-memory"),
        await names("tiny-pg2-robotics"),
      ],
      ["hub", "vision-tower", "model", "in-memory", "robotics"],
    );
    assert.equal((await checkpointInfo(tinyFolder("tiny-pg2-sharded"))).layout.files.length > 1, true);
  });

  it("counts parts, image tokens and the memory of each type; a packed part has its form", async () => {
    const { parts, parameters, imageTokens, memory, bytesByForm } = await checkpointInfo(tiny);
    assert.equal(imageTokens, 16);
    assert.deepEqual(parts.embedding, { parameters: 300 * 32, bytesByForm: { F32: 300 * 32 * 4 } });
    const sum = Object.values(parts).reduce((all, part) => all + part.parameters, 0);
    assert.equal(sum, parameters.total);
    assert.equal(parameters.language, parts.language.parameters + parts.embedding.parameters);
    assert.deepEqual([memory.float32, memory.bfloat16], [4 * sum, 2 * sum]);
    assert.ok(memory.nf4 < memory.int8 && memory.int8 < memory.bfloat16);
    assert.equal(bytesByForm.F32, 4 * sum);
    assert.ok((await checkpointInfo(tinyFolder("tiny-pg2-nf4"))).parts.language.bytesByForm.nf4 > 0);
  });

  it("gives the statistics of the tensors that a glob names, and lists all without one", async () => {
    const all = (await checkpointInfo(tiny, { tensors: null })).tensors!;
    assert.ok(all.length > 50 && all.every(({ statistics }) => statistics === undefined));
    const [info, ...others] = (await checkpointInfo(tiny, { tensors: "**.embed_tokens.weight" })).tensors!;
    assert.deepEqual([others.length, info.shape, info.form], [0, [300, 32], "F32"]);
    const { values } = (await readTensors(path.join(tiny, "model.safetensors"))).get(info.stored)!;
    const numbers = [...values];
    const mean = numbers.reduce((total, value) => total + value, 0) / numbers.length;
    const std = Math.sqrt(numbers.reduce((total, value) => total + (value - mean) ** 2, 0) / numbers.length);
    const found = info.statistics!;
    assert.deepEqual([found.min, found.max, found.nan], [Math.min(...numbers), Math.max(...numbers), 0]);
    assert.ok(Math.abs(found.mean! - mean) < 1e-12 && Math.abs(found.std! - std) < 1e-12);
    await assert.rejects(checkpointInfo(tiny, { tensors: "no.such" }), InputError);
  });

  it("compares an adapter with the model, and refuses one that does not fit", async () => {
    const { adapters } = await checkpointInfo(tiny, { adapters: [adapterFolder("tiny-pg2", "lists")] });
    assert.deepEqual([adapters![0].config.r, adapters![0].counts!.modules > 0], [2, true]);
    const other = checkpointInfo(tinyFolder("tiny-pg1"), { adapters: [adapterFolder("tiny-pg2", "lists")] });
    await assert.rejects(other, WeightsError);
  });

  it("tells of the tokenizer and the files, and what it has compared", async () => {
    const { tokenizer, files, checked } = await checkpointInfo(tiny, { tokenizer: true, check: true });
    assert.ok(tokenizer && "kind" in tokenizer && tokenizer.ids.bos === 2 && tokenizer.ids.image === 299);
    assert.ok(files.found.includes("tokenizer.model") && files.missing.length === 0);
    assert.equal(checked?.length, 1);
  });
});

describe("running statistics", () => {
  it("of pieces are those of the whole, NaN and infinities apart", () => {
    const statistics = new RunningStatistics();
    for (const piece of [[1000, 1001], [], [NaN, 1002, Infinity], [NaN]]) statistics.add(Float32Array.from(piece));
    const { std, ...rest } = statistics.result;
    assert.deepEqual(rest, { min: 1000, max: 1002, mean: 1001, nan: 2, infinite: 1 });
    assert.ok(Math.abs(std! - Math.sqrt(2 / 3)) < 1e-12);
    assert.equal(new RunningStatistics().result.mean, null);
  });
});

describe("paligemma info", () => {
  it("describes a model with its adapter and tensors, and the folder of an adapter alone", async () => {
    const adapter = adapterFolder("tiny-pg2", "lists");
    const { code, stdout } = await cli("info", "--model", tiny, "--adapter", adapter, "--tensors", "**.norm.weight");
    assert.equal(code, 0);
    for (const line of [
      /^names +vision-tower, in model/m,
      /^memory .*nf4/m,
      /^adapter .*rank 2, alpha 5/m,
      /norm\.weight F32 \[32\] min/,
    ])
      assert.match(stdout, line);
    assert.match((await cli("info", "--model", adapter)).stdout, /^adapter .*LoRA, rank 2, alpha 5\n {2}targets/);
  });
});
