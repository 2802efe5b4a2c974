import { strict as assert } from "node:assert";
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { InputError } from "../../../src/base/errors.js";
import { hookCatalogue } from "../../../src/model/hook-catalogue.js";
import { inOrderOfComputation } from "../../../src/hooks/hook-order.js";
import { readRun, writeRun } from "../../../src/runs/run-files.js";
import type { StoredTensor } from "../../../src/inspection/stored-run.js";
import { loadConfig } from "../../../src/loading/load-network.js";
import { encodeNpy, encodeNpz, encodeSafetensors, openFolder, type TensorData } from "../../../weights/index.js";
import { fixtures } from "../../parity/reference.js";
import { tinyFolder } from "../../support/tiny.js";
import { randomOf, weightsError, withFolder } from "../../weights/helpers.js";

const tensorOf = (shape: number[], seed: number): StoredTensor => {
  const random = randomOf(seed);
  const size = shape.reduce((product, axis) => product * axis, 1);
  return { shape, data: Float32Array.from({ length: size }, () => random() * 4 - 2) };
};
const inputError = (pattern: RegExp) => (error: Error) => error instanceof InputError && pattern.test(error.message);

const odd = Float32Array.of(NaN, Infinity, -Infinity, -0, 1e-45, 3.4028235e38, 0.1);
const run = new Map<string, StoredTensor>([
  ["__proto__", tensorOf([], 3)],
  ["7", tensorOf([0, 4], 4)],
  ["vision.blocks.2.hook_resid_pre", tensorOf([1, 3, 5], 1)],
  ["vision.blocks.10.hook_resid_pre", tensorOf([2, 3], 2)],
  ["language.unembed.hook_out", { shape: [7], data: odd }],
]);
const metadata = JSON.parse('{"prompt":"caption größe","tokens":"[[1,2]]","__proto__":"own","7":""}') as Record<
  string,
  string
>;

describe("files of runs", () => {
  for (const ending of [".safetensors", ".npz", ".json", ".NPZ"]) {
    it(`what is written is read back the same, in the order of computation, and nothing else is left: ${ending}`, () =>
      withFolder({}, async (folder) => {
        const file = path.join(folder, `run${ending}`);
        await writeRun(file, run, metadata);
        assert.deepEqual(await readdir(folder), [`run${ending}`]);
        const read = await readRun(file);
        assert.deepEqual(Object.entries(read.metadata).sort(), Object.entries(metadata).sort());
        assert.deepEqual(read.notes, []);
        // Hooks come in the order of computation, whatever else is in the file comes behind them.
        const names = [...read.tensors.keys()];
        assert.deepEqual(names.slice(0, 3), [...run.keys()].slice(-3));
        assert.deepEqual(new Set(names), new Set(run.keys()));
        for (const [name, { shape, data }] of run) {
          const found = read.tensors.get(name)!;
          assert.deepEqual(found.shape, shape);
          assert.deepEqual(new Uint32Array(found.data.buffer), new Uint32Array(data.buffer), name);
        }
      }));
  }

  it("one activation goes into a .npy, whose name it takes", () =>
    withFolder({}, async (folder) => {
      const file = path.join(folder, "language.hook_embed.npy");
      const tensor = tensorOf([2, 3], 5);
      await writeRun(file, new Map([["x", tensor]]), metadata);
      const { tensors, metadata: read } = await readRun(file);
      assert.deepEqual([...tensors], [["language.hook_embed", tensor]]);
      assert.deepEqual(read, {});
      for (const many of [run, new Map<string, StoredTensor>()]) {
        await assert.rejects(writeRun(file, many), inputError(/a \.npy holds one activation, received \d/));
      }
    }));

  it("a run without metadata, and an archive of NumPy, have none", async () => {
    await withFolder({}, async (folder) => {
      for (const ending of [".safetensors", ".npz", ".json"]) {
        const file = path.join(folder, `run${ending}`);
        await writeRun(file, run);
        assert.deepEqual((await readRun(file)).metadata, {});
      }
    });
    const { tensors, metadata: none } = await readRun(path.join(fixtures, "arrays", "deflated.npz"));
    assert.deepEqual(none, {});
    assert.deepEqual([...tensors.get("größe")!.data], [0, 1, 2]);
    assert.deepEqual(tensors.get("weight")!.shape, [4, 6]);
  });

  it("metadata in a .npz are a member of their own that is no array", () =>
    withFolder({}, async (folder) => {
      const file = path.join(folder, "run.npz");
      await writeRun(file, run, metadata);
      const text = (await readFile(file)).toString("latin1");
      assert.ok(text.includes("__metadata__.json") && !text.includes("__metadata__.json.npy"));
    }));

  it("numbers of every type become f32: 16 bit exactly, 64 bit rounded, integers as long as they are exact", () => {
    const one = (dtype: TensorData["dtype"], data: TensorData["data"]): TensorData => ({ dtype, shape: [2], data });
    const arrays: Record<string, [TensorData, number[]]> = {
      half: [one("F16", Uint8Array.of(0, 0x3c, 0, 0xc0)), [1, -2]],
      brain: [one("BF16", Uint8Array.of(0x80, 0x3f, 0x20, 0xc0)), [1, -2.5]],
      wide: [one("F64", Float64Array.of(0.1, -3)), [Math.fround(0.1), -3]],
      whole: [one("I64", BigInt64Array.of(-(2n ** 24n), 5n)), [-(2 ** 24), 5]],
      flags: [one("BOOL", Uint8Array.of(1, 0)), [1, 0]],
    };
    const tensors = new Map(Object.entries(arrays).map(([name, [tensor]]) => [name, tensor]));
    const files = { "a.npz": encodeNpz(tensors), "a.safetensors": encodeSafetensors(tensors) };
    const brain = { "brain.npy": encodeNpy(arrays.brain[0]) };
    const far = new Map([["ids", one("I32", Int32Array.of(0, 2 ** 24 + 1))]]);
    return withFolder({ ...files, ...brain, "far.npz": encodeNpz(far) }, async (folder) => {
      for (const file of Object.keys(files)) {
        const read = await readRun(path.join(folder, file));
        for (const [name, [, values]] of Object.entries(arrays)) {
          assert.deepEqual([...read.tensors.get(name)!.data], values, `${file}: ${name}`);
        }
      }
      assert.deepEqual([...(await readRun(path.join(folder, "brain.npy"))).tensors.get("brain")!.data], [1, -2.5]);
      const expected = weightsError(/far\.npz: array "ids": value 1 is 16777217, and float32 has every whole number/);
      await assert.rejects(readRun(path.join(folder, "far.npz")), expected);
    });
  });

  it("too many numbers for JSON are refused with their size and what to do", () =>
    withFolder({}, async (folder) => {
      const file = path.join(folder, "run.json");
      const least = 250_001;
      const large = new Map([["a", { shape: [least], data: new Float32Array(least) }]]);
      const pattern = /run\.json: 1\.0 MB of numbers, JSON takes at most 1 MB; write \.safetensors or \.npz/;
      await assert.rejects(writeRun(file, large), inputError(pattern));
      const most = new Map([["a", { shape: [least - 1], data: new Float32Array(least - 1).fill(-1.17549435e-38) }]]);
      await writeRun(file, most);
      assert.equal((await readRun(file)).tensors.get("a")!.data.length, 250_000);
    }));

  it("shape and data that differ are refused by every form, and what was there stays", () =>
    withFolder({}, async (folder) => {
      const bad = new Map([["a", { shape: [2, 3], data: new Float32Array(5) }]]);
      for (const ending of [".safetensors", ".npz", ".npy", ".json"]) {
        const file = path.join(folder, `run${ending}`);
        await writeFile(file, "old");
        await assert.rejects(writeRun(file, bad), weightsError(/of F32 \[2,3\] needs 24 bytes, its data has 20/));
        assert.equal(await readFile(file, "utf8"), "old");
      }
      assert.equal((await readdir(folder)).length, 4);
    }));

  it("other endings, and files that are not there, are refused in words", async () => {
    await assert.rejects(
      writeRun("run.pt", run),
      inputError(/run\.pt: expected a file ending in \.safetensors, \.npz/),
    );
    await assert.rejects(readRun("run.pt"), inputError(/or a folder of module dumps/));
    await assert.rejects(readRun("absent.npz"), weightsError(/absent\.npz: cannot be opened/));
  });

  it("JSON that is no run is refused where it is wrong", async () => {
    const wrong: [string, RegExp][] = [
      ["{", /not valid JSON/],
      ["[]", /is no run: expected/],
      ['{"tensors":[]}', /is no run/],
      ['{"tensors":{"a":{"shape":[1],"data":[1]},"a":{"shape":[1],"data":[1]}}}', /"a" twice/],
      ['{"tensors":{"a":[1]}}', /tensor "a" is \[1\], expected a shape and data/],
      ['{"tensors":{"a":{"shape":[-1],"data":[]}}}', /expected a shape and data/],
      ['{"tensors":{"a":{"shape":[2],"data":[1]}}}', /"a" of F32 \[2\] needs 8 bytes, its data has 4/],
      ['{"tensors":{"a":{"shape":[1],"data":["1"]}}}', /has "1" as value 0, expected a number/],
      ['{"tensors":{"a":{"shape":[1],"data":[null]}}}', /has null as value 0/],
      ['{"tensors":{},"metadata":{"a":1}}', /metadata \{"a":1\}, expected an object of strings/],
    ];
    for (const [text, pattern] of wrong) {
      await withFolder({ "run.json": text }, (folder) =>
        assert.rejects(readRun(path.join(folder, "run.json")), weightsError(pattern)),
      );
    }
    const others = new Map([["__metadata__.json", new TextEncoder().encode('{"a":1}')]]);
    await withFolder({ "run.npz": encodeNpz(new Map(), others) }, (folder) =>
      assert.rejects(readRun(path.join(folder, "run.npz")), weightsError(/expected an object of strings/)),
    );
  });
});

describe("the order of computation", () => {
  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    it(`is found from the names alone: ${name}`, async () => {
      const config = await loadConfig(await openFolder(tinyFolder(name)));
      config.text.numHiddenLayers = config.vision.numHiddenLayers = 12;
      const names = hookCatalogue(config).map((point) => point.name);
      assert.deepEqual(inOrderOfComputation([...names].sort()), names);
      assert.deepEqual(inOrderOfComputation([...names].reverse()), names);
    });
  }

  it("has names that are no hooks last, as they came", () => {
    const others = ["zebra", "language.hook_other", "language.blocks.x.hook_q", "constructor", ""];
    assert.deepEqual(inOrderOfComputation([...others, "projector.hook_out"]), ["projector.hook_out", ...others]);
  });
});
