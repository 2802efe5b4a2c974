import { strict as assert } from "node:assert";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { adapterNames } from "../../../src/adapters/adapter-model.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { fixtures } from "../../parity/reference.js";
import { adapterFolder, withChangedAdapter } from "../../support/adapters.js";
import { counts, onEachBackend } from "../../support/backends.js";
import { cli } from "../../support/run-cli.js";
import { requestsOf } from "../../support/serve.js";
import { tinyFolder } from "../../support/tiny.js";

const reference = path.join(fixtures, "references", "tiny-pg2", "prompt");
const image = path.join(
  reference,
  readdirSync(reference).find((name) => name.endsWith(".png"))!,
);
const prompt = JSON.parse(readFileSync(path.join(reference, "case.json"), "utf8")).prompts[0] as string;
const question = { image, prompt };
const tiny = tinyFolder("tiny-pg2");
const lists = adapterFolder("tiny-pg2", "lists");
const rslora = adapterFolder("tiny-pg2", "rslora");

onEachBackend("a PaliGemma with adapters", (backend) => {
  const logitsOf = async (model: PaliGemma): Promise<Float32Array> => {
    const logits = await model.forward(question);
    const values = logits.dataSync<"float32">();
    logits.dispose();
    return values;
  };

  it("answers otherwise with each choice, loaded, switched, merged and unloaded in place", async () => {
    const before = counts();
    const model = await PaliGemma.load(tiny, { backend });
    const answer = async () => (await model.generate(question, { maxNewTokens: 20 })).tokens.join(" ");
    const plain = await answer();
    assert.deepEqual(model.adapters, []);
    const info = await model.loadAdapter("a", lists);
    assert.deepEqual([info.name, info.weight, info.modules], ["a", null, 37]);
    await model.loadAdapter("b", rslora);
    assert.equal(await answer(), plain);
    model.setAdapters(["a"]);
    const a = await answer();
    model.setAdapters({ a: 1, b: 0.5 });
    const both = await answer();
    assert.equal(new Set([plain, a, both]).size, 3);
    const unmerged = await logitsOf(model);
    await model.mergeAdapters();
    assert.deepEqual(
      model.adapters.map(({ merged }) => merged),
      [true, true],
    );
    assert.equal(await answer(), both);
    model.unmergeAdapters();
    assert.deepEqual(await logitsOf(model), unmerged);
    model.unloadAdapter("b");
    assert.equal(await answer(), a);
    model.setAdapters([]);
    assert.equal(await answer(), plain);
    model.dispose();
    model.dispose();
    assert.deepEqual(counts(), before);
    assert.throws(() => model.setAdapters([]), /^InputError: model: it has been disposed/);
    await assert.rejects(model.loadAdapter("c", lists), /^InputError: model: it has been disposed/);
  });

  it("is loaded with them at once, named by their folders", async () => {
    const model = await PaliGemma.load(tiny, { backend, adapter: [lists, `${rslora}/`] });
    assert.deepEqual(
      model.adapters.map(({ name, weight }) => [name, weight]),
      [
        ["lists", 1],
        ["rslora", 1],
      ],
    );
    const at = await logitsOf(model);
    model.dispose();
    const other = await PaliGemma.load(tiny, { backend });
    await other.loadAdapter("x", lists);
    await other.loadAdapter("y", rslora);
    other.setAdapters(["x", "y"]);
    assert.deepEqual(await logitsOf(other), at);
    other.dispose();
  });

  it("is loaded from the folder of an adapter whose base is a folder here", async () => {
    const direct = await PaliGemma.load(tiny, { backend, adapter: lists });
    const expected = await logitsOf(direct);
    direct.dispose();
    await withChangedAdapter(
      lists,
      ({ config }) => (config.base_model_name_or_path = tiny),
      async (folder) => {
        const model = await PaliGemma.load(folder, { backend });
        assert.deepEqual(
          model.adapters.map(({ name, weight }) => [name, weight]),
          [["adapter", 1]],
        );
        assert.deepEqual(await logitsOf(model), expected);
        model.dispose();
      },
    );
  });

  it("and is not where its base is elsewhere, or not said: what to do is", async () => {
    for (const base of ["google/paligemma-3b-pt-224", "https://example.org/model", null]) {
      await withChangedAdapter(
        lists,
        ({ config }) => (config.base_model_name_or_path = base),
        async (folder) => {
          await assert.rejects(
            PaliGemma.load(folder, { backend }),
            /^InputError: .*this is an adapter, and .*; load the base model, with this folder as adapter/,
          );
        },
      );
    }
  });

  it("leaves nothing behind where an adapter does not fit", async () => {
    const before = counts();
    await assert.rejects(
      PaliGemma.load(tinyFolder("tiny-pg1"), { backend, adapter: lists }),
      /the adapter does not fit/,
    );
    assert.deepEqual(counts(), before);
  });

  it("refuses a picture encoded under other adapters of the vision tower, and takes one under others of the decoder", async () => {
    const model = await PaliGemma.load(tiny, { backend });
    await model.loadAdapter("both", lists);
    await model.loadAdapter("language", adapterFolder("tiny-pg2", "language"));
    const picture = await model.encodePicture(image);
    const ask = () => model.generate({ image: picture, prompt }, { maxNewTokens: 1 });
    await ask();
    model.setAdapters(["language"]);
    await ask();
    model.setAdapters(["both"]);
    await assert.rejects(ask(), /^InputError: image: it was encoded with other adapters/);
    picture.dispose();
    model.dispose();
  });

  it("says what came of them on the command line", async () => {
    const flags = ["--model", tiny, "--backend", backend, "--max-new-tokens", "6", "--json"];
    const run = (...more: string[]) => cli("generate", image, "--prompt", prompt, ...flags, ...more);
    const plain = await run();
    const one = await run("--adapter", lists);
    const two = await run("--adapter", lists, "--adapter", adapterFolder("tiny-pg2", "saved"));
    for (const { code, stderr } of [plain, one, two]) assert.equal(code, 0, stderr);
    const tokens = [plain, one, two].map(({ stdout }) => JSON.parse(stdout).tokens.join(" "));
    assert.equal(new Set(tokens).size, 3);
    assert.match(one.stderr, /^adapter lists: 37 modules \(vision 9, language 28\), [\d,]+ parameters$/m);
    assert.match(two.stderr, /^adapter saved: 7 modules .*, and 3 tensors replaced$/m);
    const none = await run("--adapter", path.join(fixtures, "nowhere"));
    assert.equal(none.code, 1);
    assert.match(none.stderr, /no such folder/);
  });
});

describe("an adapter behind a URL", () => {
  it("is read there, by ranges", async () => {
    const model = await PaliGemma.load(tiny, { backend: "cpu" });
    const served = await requestsOf(lists, async (url) => {
      const { source, modules } = await model.loadAdapter("a", url);
      assert.deepEqual([source, modules], [url.replace(/\/$/, ""), 37]);
    });
    assert.ok(served.length > 2);
    model.setAdapters(["a"]);
    tf.dispose(await model.forward(question));
    const nothing = requestsOf(fixtures, async (url) => void (await model.loadAdapter("b", url)));
    await assert.rejects(nothing, /^WeightsError: .*there is no adapter_config\.json/);
    model.dispose();
  });
});

describe("the names of several adapters", () => {
  it("are the last parts of their places, with a number where that is taken", () => {
    const places = ["a/ocr", "b/ocr/", "https://host/x/ocr?token=1", "/", "plain"];
    assert.deepEqual([...adapterNames(places).keys()], ["ocr", "ocr-2", "ocr-3", "adapter", "plain"]);
    assert.deepEqual([...adapterNames(places).values()], places);
  });
});
