import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { type AdapterChoice, Adapters } from "../../../src/adapters/adapters.js";
import { InputError } from "../../../src/base/errors.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { toFloat32 } from "../../../weights/dtype.js";
import { compare } from "../../parity/compare.js";
import { fixtures, modelInputs, readReference } from "../../parity/reference.js";
import { EXACT } from "../../parity/run.js";
import { type AdapterFiles, adapterFolder, withChangedAdapter } from "../../support/adapters.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { tinyNetwork } from "../../support/tiny.js";

const MODEL = "tiny-pg2";
const at = (name: string): string => adapterFolder(MODEL, name);

onEachBackend("adapters of a network", () => {
  let network: PaliGemmaModel;
  let inputs: ModelInputs & { pixelValues: tf.Tensor };
  let adapters: Adapters;
  let plain: Float32Array;
  before(async () => {
    network = await tinyNetwork(MODEL);
    inputs = modelInputs(await readReference(path.join(fixtures, "references", MODEL, "prompt")));
    adapters = new Adapters(network);
    plain = logits();
  });
  afterEach(() => {
    if (adapters.list.some(({ merged }) => merged)) adapters.unmerge();
    for (const { name } of adapters.list) adapters.unload(name);
  });
  after(() => {
    adapters.dispose();
    inputs.pixelValues.dispose();
    network.dispose();
  });

  const logits = (): Float32Array => tf.tidy(() => network.forward(inputs).dataSync<"float32">());
  const distance = (a: Float32Array, b: Float32Array): number => compare(a, b).scaled;

  /** The logits with one adapter, changed before it is loaded. */
  async function logitsWith(name: string, change: (files: AdapterFiles) => void = () => {}): Promise<Float32Array> {
    return withChangedAdapter(at(name), change, async (folder) => {
      await adapters.load("changed", folder);
      adapters.set(["changed"]);
      const values = logits();
      adapters.unload("changed");
      return values;
    });
  }

  it("that are loaded and not active change no bit, and cost no operation", async () => {
    const kernels = async () => (await tf.profile(() => network.forward(inputs).dispose())).kernels.length;
    const before = await kernels();
    await adapters.load("lists", at("lists"));
    await adapters.load("embedding-dora", at("embedding-dora"));
    assert.deepEqual(logits(), plain);
    assert.equal(await kernels(), before);
    adapters.set(["lists"]);
    assert.ok(distance(logits(), plain) > 1e-2);
    adapters.set([]);
    assert.deepEqual(logits(), plain);
    assert.equal(await kernels(), before);
  });

  it("whose B is zero, as PEFT starts them, change no bit", async () => {
    for (const name of ["lists", "all-linear", "embedding", "head"]) {
      const zero = await logitsWith(name, ({ tensors }) => {
        for (const [key, { data }] of tensors) {
          const empty = name === "embedding" ? /lora_embedding_A|lora_B/ : /lora_B/;
          if (empty.test(key)) (data as Uint8Array).fill(0);
        }
      });
      assert.deepEqual(zero, plain, name);
    }
  });

  it("are scaled by alpha / r, with rsLoRA by alpha / sqrt(r)", async () => {
    const usual = await logitsWith("rslora"); // r 4, alpha 3
    const same = await logitsWith("rslora", ({ config }) =>
      Object.assign(config, { use_rslora: false, lora_alpha: 6 }),
    );
    assert.ok(distance(same, usual) < 1e-6);
    const smaller = await logitsWith("rslora", ({ config }) => (config.use_rslora = false));
    assert.ok(distance(smaller, usual) > 1e-2);
  });

  it("of every spelling give the same bits", async () => {
    for (const [name, others] of Object.entries({
      lists: ["lists-old", "lists-middle"],
      language: ["language-old"],
      saved: ["saved-old"],
      embedding: ["embedding-old"],
    })) {
      const usual = await logitsWith(name);
      for (const other of others) assert.deepEqual(await logitsWith(other), usual, other);
    }
  });

  it("with another base's table put that in the place of ours, as PEFT does, and with ours nothing", async () => {
    const key = "base_model.model.model.language_model.embed_tokens.base_layer.weight";
    const usual = await logitsWith("embedding");
    assert.deepEqual(await logitsWith("embedding", ({ tensors }) => tensors.delete(key)), usual);
    const tables = counts().tensors;
    const other = await logitsWith("embedding", ({ tensors }) => {
      const { data } = tensors.get(key)!;
      // of the picture's placeholder
      new DataView(data.buffer, data.byteOffset).setFloat32(4 * (32 * 299 + 5), 1000, true);
    });
    assert.ok(distance(other, usual) > 1, "the head has it");
    assert.equal(counts().tensors, tables);
    const head = "base_model.model.lm_head.base_layer.weight";
    const two = logitsWith("embedding", ({ tensors }) => {
      const { data, ...rest } = tensors.get(key)!;
      for (const [name, value] of [
        [key, 1000],
        [head, 2000],
      ] as const) {
        const copy = Uint8Array.from(data as Uint8Array);
        new DataView(copy.buffer).setFloat32(0, value, true);
        tensors.set(name, { ...rest, data: copy });
      }
    });
    await assert.rejects(two, /^WeightsError: .*differ; the base model has one table/);
  });

  it("with the base's own table hold no second one", async () => {
    const tensorsWith = (change: (files: AdapterFiles) => void) =>
      withChangedAdapter(at("embedding"), change, async (folder) => {
        const { tensors } = counts();
        await adapters.load("a", folder);
        const held = counts().tensors - tensors;
        adapters.unload("a");
        return held;
      });
    const without = await tensorsWith(({ tensors }) => {
      for (const key of [...tensors.keys()]) if (key.endsWith("base_layer.weight")) tensors.delete(key);
    });
    assert.equal(await tensorsWith(() => {}), without);
  });

  it("of the head are in the directions of tokens too, those of the embedding are not", async () => {
    const ids = [0, 7, 299];
    for (const name of ["head", "head-dora", "embedding", "tied"]) {
      await adapters.load(name, at(name));
      adapters.set([name]);
      tf.tidy(() => {
        const { unembed } = network.language;
        const h = inputs.pixelValues.flatten().slice(0, 64).reshape<tf.Tensor2D>([2, 32]);
        const logits = tf.gather(unembed.head.multiply(h), ids, 1).dataSync();
        const dots = tf.matMul(h, unembed.table(ids) as tf.Tensor2D, false, true).dataSync();
        assert.ok(compare(dots, logits).scaled < 1e-5, name);
      });
      adapters.unload(name);
    }
  });

  it("in 16 bit are read as what they stand for", async () => {
    const asBrain = ({ tensors }: AdapterFiles, wide: boolean) => {
      for (const [key, { shape, data }] of tensors) {
        const narrow = new Uint8Array(data.byteLength / 2);
        for (let i = 0; i < narrow.length; i += 2) narrow.set((data as Uint8Array).subarray(2 * i + 2, 2 * i + 4), i);
        const values = toFloat32(narrow, "BF16");
        tensors.set(key, wide ? { dtype: "F32", shape, data: values } : { dtype: "BF16", shape, data: narrow });
      }
    };
    const narrow = await logitsWith("lists", (files) => asBrain(files, false));
    assert.deepEqual(narrow, await logitsWith("lists", (files) => asBrain(files, true)));
  });

  it("reach the vision tower where their names do, and the report says so", async () => {
    const { modules, parameters, parts, replaced } = await adapters.load("lists", at("lists"));
    assert.deepEqual([parts.vision.modules, parts.language.modules, parts.projector.modules, modules], [9, 28, 0, 37]);
    assert.equal(parts.vision.parameters, 9 * 2 * (24 + 24));
    assert.equal(parameters, parts.vision.parameters + parts.language.parameters);
    assert.deepEqual(replaced, { tensors: 0, parameters: 0 });
    const seen = (adapted: string[]) => {
      adapters.set(adapted);
      let values: Float32Array = new Float32Array();
      network
        .forward(inputs, {
          tap: (hook, value) => {
            if (hook === "vision.blocks.0.attn.hook_q") values = value.dataSync<"float32">();
            return value;
          },
        })
        .dispose();
      return values;
    };
    assert.ok(distance(seen(["lists"]), seen([])) > 1e-2);

    const saved = await adapters.load("saved", at("saved"));
    assert.deepEqual(saved.replaced, { tensors: 3, parameters: 32 * 24 + 32 + 32 });
  });

  it("are listed with what they are active with", async () => {
    await adapters.load("a", at("lists"));
    await adapters.load("b", at("rslora"));
    const state = () => adapters.list.map(({ name, weight, merged }) => [name, weight, merged]);
    assert.deepEqual(state(), [
      ["a", null, false],
      ["b", null, false],
    ]);
    adapters.set({ b: 0.5 });
    assert.deepEqual(state()[1], ["b", 0.5, false]);
    adapters.set(["a"]);
    await adapters.merge();
    assert.deepEqual(state(), [
      ["a", 1, true],
      ["b", null, false],
    ]);
    assert.equal(adapters.list[0].source, at("lists"));
  });

  it("several are the sum of each, in any order but with DoRA", async () => {
    await adapters.load("a", at("lists"));
    await adapters.load("b", at("rslora"));
    const with_ = (choice: Record<string, number>) => {
      adapters.set(choice);
      return logits();
    };
    const both = with_({ a: 1, b: 0.5 });
    assert.ok(distance(with_({ b: 0.5, a: 1 }), both) < 1e-6);
    assert.ok(distance(with_({ a: 1, b: 1 }), both) > 1e-3);
    assert.ok(distance(with_({ a: 1 }), both) > 1e-3);
    assert.deepEqual(with_({ a: 0, b: 0 }), plain);
  });

  it("merged and taken out again leave the very bits of before", async () => {
    for (const name of ["lists", "dora", "embedding", "head-dora", "saved", "patch", "saved-tied"]) {
      await adapters.load(name, at(name));
      adapters.set([name]);
      const unmerged = logits();
      await adapters.merge();
      const merged = logits();
      assert.ok(distance(merged, unmerged) < 1e-5, `${name}: ${distance(merged, unmerged)}`);
      adapters.unmerge();
      assert.deepEqual(logits(), unmerged, name);
      adapters.unload(name);
      assert.deepEqual(logits(), plain, name);
    }
  });

  it("merged cost no operation more than none", async () => {
    const kernels = async () => (await tf.profile(() => network.forward(inputs).dispose())).kernels.length;
    const before = await kernels();
    await adapters.load("lists", at("lists"));
    adapters.set(["lists"]);
    assert.ok((await kernels()) > before);
    await adapters.merge();
    logits(); // wasm makes its transposed copies
    assert.equal(await kernels(), before);
  });

  it("let gradients through to what they change", async () => {
    await adapters.load("dora", at("dora"));
    adapters.set(["dora"]);
    const sum = (pixels: tf.Tensor) =>
      network
        .forward({ ...inputs, pixelValues: pixels })
        .square()
        .mean();
    const pixels = inputs.pixelValues;
    const [slope, direction] = tf.tidy(() => {
      const gradient = tf.grad(sum as (x: tf.Tensor) => tf.Tensor)(pixels);
      return [
        gradient.square().sum().sqrt().dataSync()[0],
        tf.keep(gradient.div(gradient.square().sum().sqrt())),
      ] as const;
    });
    const value = (step: number) => tf.tidy(() => sum(pixels.add(direction.mul(step))).dataSync()[0]);
    const numeric = (value(0.02) - value(-0.02)) / 0.04;
    direction.dispose();
    assert.ok(Math.abs(numeric / slope - 1) < 0.02, `${numeric} against ${slope}`);
  });

  it("that exclude each other are refused, and nothing changes", async () => {
    await adapters.load("saved", at("saved"));
    await adapters.load("other", at("saved"));
    await adapters.load("rslora", at("rslora")); // on the projector, which "saved" replaces
    await adapters.load("lists", at("lists"));
    adapters.set(["lists"]);
    const before = logits();
    for (const choice of [
      ["saved", "other"],
      ["saved", "rslora"],
      ["rslora", "saved"],
    ]) {
      assert.throws(() => adapters.set(choice), /^InputError: adapters: ".*" replaces .*, which ".*" changes too/);
    }
    assert.deepEqual(logits(), before);
    assert.deepEqual(
      adapters.list.map(({ weight }) => weight),
      [null, null, null, 1],
    );
  });

  it("are asked for by names that are there, once each, with numbers", async () => {
    await adapters.load("lists", at("lists"));
    await assert.rejects(adapters.load("lists", at("rslora")), /^InputError: adapters: "lists" is loaded already/);
    await assert.rejects(adapters.load("", at("rslora")), InputError);
    await assert.rejects(adapters.load("x", at("nowhere")), /^WeightsError: .*no such folder/);
    for (const choice of [["list"], ["lists", "lists"], { lists: NaN }, { lists: "1" }, { rslora: 1 }]) {
      assert.throws(() => adapters.set(choice as AdapterChoice), InputError);
    }
    assert.throws(() => adapters.set(["list"]), /there is no "list"; loaded: "lists"/);
    assert.throws(() => adapters.unload("list"), InputError);
  });

  it("of one name loaded twice at a time are loaded once", async () => {
    const both = await Promise.allSettled([adapters.load("a", at("lists")), adapters.load("a", at("rslora"))]);
    assert.deepEqual(both.map(({ status }) => status).sort(), ["fulfilled", "rejected"]);
    assert.equal(adapters.list.length, 1);
  });

  it("that are merged are taken out before anything else is chosen", async () => {
    await adapters.load("a", at("lists"));
    await adapters.load("b", at("rslora"));
    await assert.rejects(adapters.merge(), /^InputError: adapters: none is active/);
    assert.throws(() => adapters.unmerge(), /^InputError: adapters: none is merged/);
    adapters.set(["a"]);
    await adapters.merge();
    assert.throws(() => adapters.set(["b"]), /^InputError: adapters: they are merged/);
    assert.throws(() => adapters.unload("a"), /^InputError: adapters: they are merged/);
    await assert.rejects(adapters.merge(), /^InputError: adapters: they are merged/);
    adapters.unload("b"); // which is not in the weights
    adapters.unmerge();
  });

  it("changed while they are being merged are not merged", async () => {
    await adapters.load("a", at("lists"));
    adapters.set(["a"]);
    const { tensors } = counts();
    const merging = adapters.merge();
    adapters.set([]);
    await assert.rejects(merging, /^InputError: adapters: they were changed/);
    assert.deepEqual(logits(), plain);
    assert.ok(counts().tensors <= tensors);
  });

  it("changed during a run, or between two steps of decoding, end it", async () => {
    await adapters.load("a", at("lists"));
    const running = network.forwardAsync(inputs);
    adapters.set(["a"]);
    await assert.rejects(running, /^InputError: adapters: they were changed/);
    const state = network.newState();
    network.forward(inputs, { state }).dispose();
    const step = { pixelValues: null, inputIds: [[30]], tokenTypeIds: [[1]] };
    network.forward(step, { state }).dispose();
    adapters.set([]);
    assert.throws(() => network.forward(step, { state }), /^InputError: state: it was begun with other adapters/);
    state.dispose();
    network.forward(inputs, { state }).dispose();
    state.dispose();
  });

  for (const steps of [0, 1, 8]) {
    leakFree(`that are being loaded when the signal says stop, after ${steps} tensors, are not`, async () => {
      const stop = new AbortController();
      let left = steps;
      // Asked between two tensors; an AbortSignal cannot be told to speak at one of them.
      const throwIfAborted = () => {
        if (left-- === 0) stop.abort(new Error("enough"));
        stop.signal.throwIfAborted();
      };
      const signal = Object.create(stop.signal, { throwIfAborted: { value: throwIfAborted } }) as AbortSignal;
      await assert.rejects(adapters.load("a", at("saved-tied"), { signal }), /^Error: enough/);
      assert.deepEqual(adapters.list, []);
    });
  }

  leakFree("leave nothing behind, whatever is done with them", async () => {
    for (const name of ["lists", "dora", "embedding", "saved-tied", "patch-dora", "biases"]) {
      await adapters.load(name, at(name));
      for (const choice of [{ [name]: 1 }, { [name]: 0.5 }, {}, { [name]: -1 }]) {
        adapters.set(choice);
        network.forward(inputs).dispose();
      }
      await adapters.merge();
      network.forward(inputs).dispose();
      adapters.unmerge();
      adapters.unload(name);
      await withChangedAdapter(
        at(name),
        ({ tensors }) => tensors.delete([...tensors.keys()].at(-1)!),
        (folder) => assert.rejects(adapters.load(name, folder)),
      );
    }
  });

  leakFree("that are disposed with their network leave nothing, merged or not", async () => {
    for (const merged of [true, false]) {
      const other = await tinyNetwork(MODEL);
      const more = new Adapters(other);
      await more.load("a", at("lists"));
      await more.load("b", at("saved"));
      more.set(["a", "b"]);
      other.forward(inputs).dispose();
      if (merged) await more.merge();
      more.dispose();
      other.dispose();
    }
  });
});

onEachBackend("adapters on weights of 16, 8 and 4 bit", (backend) => {
  for (const model of ["tiny-pg2-bf16", "tiny-pg2-f16", "tiny-pg2-int8", "tiny-pg2-nf4"]) {
    it(`${model}: those whose B is zero change no bit`, async () => {
      const inputs = modelInputs(await readReference(path.join(fixtures, "references", MODEL, "prompt")));
      const network = await tinyNetwork(model);
      const adapters = new Adapters(network);
      const run = () => tf.tidy(() => network.forward(inputs).dataSync());
      const plain = run();
      const zeroed = ({ tensors }: AdapterFiles) => {
        for (const [key, { data }] of tensors) if (key.includes("lora_B")) (data as Uint8Array).fill(0);
      };
      await withChangedAdapter(at("all-linear"), zeroed, (folder) => adapters.load("zero", folder));
      adapters.set(["zero"]);
      assert.deepEqual(run(), plain);
      for (const one of [adapters, network, inputs.pixelValues]) one.dispose();
    });

    it(`${model}: as on the same weights in float32`, async () => {
      const inputs = modelInputs(await readReference(path.join(fixtures, "references", MODEL, "prompt")));
      const network = await tinyNetwork(model, { settings: EXACT });
      const adapters = new Adapters(network);
      const wide = await tinyNetwork(model, { settings: EXACT, dtype: "float32" });
      const wideAdapters = new Adapters(wide);
      if (/16$/.test(model)) assert.equal(network.dtype !== "float32", backend === "tensorflow");
      try {
        for (const name of ["lists", "dora", "embedding", "saved-tied", "head-dora"]) {
          // The base's table in the file is that of the model which is not rounded; PEFT would take it in place of
          // ours.
          const withoutTable = ({ tensors }: AdapterFiles) => {
            for (const key of [...tensors.keys()]) if (key.endsWith("base_layer.weight")) tensors.delete(key);
          };
          const run = async (adapters: Adapters, network: PaliGemmaModel) => {
            await withChangedAdapter(at(name), withoutTable, (folder) => adapters.load(name, folder));
            adapters.set([name]);
            return tf.tidy(() => network.forward(inputs).dataSync());
          };
          const [ours, theirs] = [await run(adapters, network), await run(wideAdapters, wide)];
          // What "saved" brings is held in 16 bit there, and in float32 here.
          const limit = name === "saved-tied" ? 2e-2 : 1e-5;
          const { scaled } = compare(ours, theirs);
          assert.ok(scaled < limit, `${name}: ${scaled}`);
          await adapters.merge();
          const merged = compare(
            tf.tidy(() => network.forward(inputs).dataSync()),
            theirs,
          ).scaled;
          assert.ok(merged < (network.dtype === "float32" ? 1e-5 : 5e-2), `${name} merged: ${merged}`);
          adapters.unmerge();
        }
      } finally {
        for (const one of [adapters, wideAdapters, network, wide]) one.dispose();
        inputs.pixelValues.dispose();
      }
    });
  }
});
