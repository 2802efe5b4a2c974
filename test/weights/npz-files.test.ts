import assert from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as tf from "@tensorflow/tfjs";
import fc from "fast-check";
import type { Checkpoint } from "../../weights/index.js";
import {
  encodeNpz,
  memorySource,
  openFolder,
  openNpz,
  toFloat32,
  type Folder,
  type TensorData,
} from "../../weights/index.js";
import { isPlaced } from "../../weights/checkpoint-entry.js";
import { openBigVision } from "../../weights/npz-files.js";
import { fixtures } from "../parity/reference.js";
import { requestsOf } from "../support/serve.js";
import { counting, weightsError, withFolder } from "./helpers.js";
import { expectSameWeights } from "./same-weights.js";
import { openWeights } from "../../weights/open-weights.js";

const archives = join(fixtures, "npz");
const models = join(fixtures, "models");
const TABLE = "params/llm/embedder/input_embedding";
const KV = "params/llm/layers/attn/kv_einsum/w";
type Arrays = Map<string, TensorData>;

/** The arrays of a tiny model's archive. */
async function arraysOf(model: string, file = "f32.npz"): Promise<Arrays> {
  const archive = await openNpz(memorySource(file, await readFile(join(archives, model, file))), { void2: "BF16" });
  return new Map(await Promise.all(archive.names.map(async (name) => [name, await archive.read(name)] as const)));
}

/** A folder in memory that holds one archive, and the ranges that are read of it. */
function folderOf(bytes: Uint8Array): { folder: Folder; source: ReturnType<typeof counting> } {
  const source = counting(memorySource("folder/tiny.npz", bytes));
  const absent = (): never => assert.fail("only the archive is opened");
  const folder = { name: "folder", localPath: null, open: async () => source, has: absent, readJson: absent };
  return { folder: { ...folder, weightFile: "tiny.npz", readBytes: absent } as Folder, source };
}
const opened = async (arrays: Arrays): Promise<Checkpoint> => openWeights(folderOf(encodeNpz(arrays)).folder);
const refused = (arrays: Arrays, ...patterns: RegExp[]): Promise<void> =>
  assert.rejects(opened(arrays), weightsError(/tiny\.npz/, ...patterns));

const expectEqual = (theirs: string, model: string): Promise<void> =>
  expectSameWeights(join(archives, theirs), join(models, model));

describe("weights/npz-files", () => {
  before(async () => {
    await tf.setBackend("cpu");
  });

  for (const [file, model] of [
    ["tiny-pg1/f32.npz", "tiny-pg1"],
    ["tiny-pg1/bf16.npz", "tiny-pg1-bf16"],
    ["tiny-pg2/f32.npz", "tiny-pg2"],
    ["tiny-pg2/bf16.npz", "tiny-pg2-bf16"],
    ["tiny-pg2/f16.npz", "tiny-pg2-f16"],
    ["tiny-pg2/deflated.npz", "tiny-pg2"],
  ]) {
    it(`${file} gives the tensors of ${model}, bit for bit, without the row of <image>`, () =>
      expectEqual(file, model));
  }

  it("names of arrays may come without params/, and beside an optimiser's state", async () => {
    const arrays = await arraysOf("tiny-pg1");
    const bare = await opened(new Map([...arrays].map(([name, array]) => [name.slice("params/".length), array])));
    const state = arrays.get(TABLE)!;
    const trained = await opened(new Map([...arrays, ["opt/0/mu/llm/w", state], ["chrono/accum_train_time", state]]));
    const plain = await opened(arrays);
    assert.deepEqual([...bare.entries.keys()], [...plain.entries.keys()]);
    assert.deepEqual([...trained.entries.keys()], [...plain.entries.keys()]);
  });

  it("what lies in order is placed in the archive, the rest is composed", async () => {
    const { folder, source } = folderOf(encodeNpz(await arraysOf("tiny-pg2")));
    const { entries } = await openBigVision(folder, "tiny.npz");
    const placed = [...entries].filter(([, entry]) => isPlaced(entry)).map(([name]) => name);
    for (const name of ["norm.weight", "embed_tokens.weight", "layers.3.input_layernorm.weight"]) {
      assert.ok(placed.includes(`language_model.model.${name}`), name);
    }
    assert.ok(placed.every((name) => !/(proj|fc[12])\.weight$/.test(name)));
    const norm = entries.get("language_model.model.layers.2.input_layernorm.weight")!;
    assert.ok(isPlaced(norm));
    assert.equal(norm.name, "params/llm/layers/pre_attention_norm/scale[2]");
    const whole = (await arraysOf("tiny-pg2")).get("params/llm/layers/pre_attention_norm/scale")!;
    const bytes = new Uint8Array(whole.data.buffer, whole.data.byteOffset, whole.data.byteLength);
    assert.deepEqual(await source.read(norm.start, norm.end), bytes.slice(2 * 32 * 4, 3 * 32 * 4));
  });

  it("tensors that start at a whole number of their width may be mapped, and no others", async () => {
    const checkpoint = await openWeights(await openFolder(join(archives, "tiny-pg2", "bf16.npz")));
    const placed = [...checkpoint.entries.values()].filter(isPlaced);
    const even = placed.filter(({ start }) => start % 2 === 0);
    const size = (list: typeof placed): number => list.reduce((sum, { start, end }) => sum + end - start, 0);
    assert.ok(even.length > 0 && even.length < placed.length, `${even.length} of ${placed.length}`);
    assert.equal(checkpoint.mappableBytes, size(even));
    await checkpoint.close();
  });

  it("behind a URL it is read by ranges", async () => {
    const bytes = (await readFile(join(archives, "tiny-pg2", "f32.npz"))).length;
    const served = await requestsOf(join(archives, "tiny-pg2"), async (url) => {
      const checkpoint = await openWeights(await openFolder(`${url}f32.npz`));
      assert.deepEqual([checkpoint.mappableBytes, checkpoint.entries.size], [0, 101]);
      const name = "language_model.model.layers.2.mlp.down_proj.weight";
      await checkpoint.stage(name);
      checkpoint.get(name, [32, 48]).dispose();
      await checkpoint.close();
    });
    assert.ok(
      served.every(({ bytes: sent }) => sent < bytes),
      "never whole",
    );
    assert.equal(served.at(-1)!.bytes, 32 * 48 * 4);
    await assert.rejects(openFolder("http://127.0.0.1:9/%E0%A4.npz"), weightsError(/not a valid/));
  });

  it("opening reads headers only, and staging a layer reads that layer only", async () => {
    const { folder, source } = folderOf(encodeNpz(await arraysOf("tiny-pg2")));
    const checkpoint = await openWeights(folder);
    const gating = checkpoint.entries.get("language_model.model.layers.1.mlp.up_proj.weight")!;
    assert.deepEqual([gating.name, gating.shape], ["params/llm/layers/mlp/gating_einsum[1, 1]", [48, 32]]);
    source.ranges.length = 0;
    const heard: number[] = [];
    await checkpoint.stage("language_model.model.layers.1", (bytes) => heard.push(bytes));
    const layer = [...checkpoint.entries].filter(([name]) => name.startsWith("language_model.model.layers.1."));
    const size = layer.reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 4), 0);
    assert.equal(source.bytes(), size);
    assert.equal(
      heard.reduce((a, b) => a + b, 0),
      size,
    );
  });

  it("a deflated archive is unpacked once, whatever its arrays hold", async () => {
    const bytes = await readFile(join(archives, "tiny-pg2", "deflated.npz"));
    const { folder, source } = folderOf(bytes);
    const checkpoint = await openWeights(folder);
    assert.ok([...checkpoint.entries.values()].every((entry) => !isPlaced(entry)));
    source.ranges.length = 0;
    await checkpoint.stage("");
    // Each array's start was read for its header, and is read again.
    assert.ok(source.bytes() < 1.05 * bytes.length, `${source.bytes()} of ${bytes.length}`);
    await checkpoint.close();
  });

  describe("is refused", () => {
    const changed = async (name: string, change: (array: TensorData) => TensorData): Promise<Arrays> => {
      const arrays = await arraysOf("tiny-pg1");
      return arrays.set(name, change(arrays.get(name)!));
    };

    it("when an array is missing or none of a PaliGemma's: by the model's check", async () => {
      const { entries } = await opened(await arraysOf("tiny-pg1"));
      const expected = new Map([...entries].map(([name, { shape }]) => [name, shape]));
      const arrays = await arraysOf("tiny-pg1");
      arrays.delete(KV);
      arrays.set("params/llm/lora/a", arrays.get("params/img/head/bias")!);
      const checkpoint = await opened(arrays);
      const patterns = [
        /missing \(6\): language_model\.model\.layers\.0\.self_attn\.k_proj\.weight, /,
        /unexpected \(1\): llm\/lora\/a \(in the file "params\/llm\/lora\/a"\)/,
      ];
      assert.throws(() => checkpoint.check(expected), weightsError(...patterns));
    });

    it("when an array has other axes, or parts that nobody knows", async () => {
      const flat = await changed(KV, (array) => ({ ...array, shape: [3, 512] }));
      await refused(flat, /kv_einsum\/w" is \[3,512\], expected 5 axes and a part \[0, 0\]/);
      const thirds = await changed(KV, (array) => ({
        ...array,
        shape: [3, 3, 1, 32, 8],
        data: new Uint8Array(4 * 3 * 3 * 32 * 8),
      }));
      await refused(thirds, /kv_einsum\/w" is \[3,3,1,32,8\], of whose 2304 values 1536 are known/);
      const single = await changed(KV, (array) => ({ ...array, shape: [3, 1, 2, 32, 8] }));
      await refused(single, /kv_einsum\/w" is \[3,1,2,32,8\], expected 5 axes and a part \[0, 1\]/);
    });

    it("when arrays disagree about the number of layers, or there are too many", async () => {
      const more = await changed("params/llm/layers/pre_ffw_norm/scale", () => ({
        dtype: "F32",
        shape: [4, 32],
        data: new Uint8Array(4 * 4 * 32),
      }));
      await refused(more, /layers\/.*" is \[3,.*\], expected \d axes and a part \[3/);
      const many = await changed("params/llm/layers/pre_ffw_norm/scale", () => ({
        dtype: "F32",
        shape: [1e9, 0],
        data: new Uint8Array(0),
      }));
      await refused(many, /llm\/layers has 1000000000 layers, expected at most 1024/);
    });

    it("when an array has its first axis innermost or its highest byte first", async () => {
      const header = (text: string): RegExp => new RegExp(text);
      for (const [from, to, fault] of [
        ["'fortran_order': False", "'fortran_order': True ", "its first axis innermost"],
        ["'descr': '<f4'", "'descr': '>f4'", "its highest byte first"],
      ]) {
        const bytes = encodeNpz(await arraysOf("tiny-pg1"));
        const at = Buffer.from(bytes).indexOf(from);
        bytes.set(new TextEncoder().encode(to), at);
        const { folder } = folderOf(bytes);
        await assert.rejects(openWeights(folder), weightsError(header(fault), /numpy\.ascontiguousarray/));
      }
    });

    it("when it is no archive, or one of something else", async () => {
      await assert.rejects(
        openWeights(folderOf(new Uint8Array(100)).folder),
        weightsError(/^folder\/tiny\.npz: expected a zip archive, found zeros/),
      );
      await refused(
        new Map([["decoder.0.bias", { dtype: "F32", shape: [1], data: new Uint8Array(4) }]]),
        /has no array llm\/embedder/,
      );
    });

    it("when any one array has another shape, is missing, or is of another type: one typed error, whatever the change", async () => {
      const arrays = await arraysOf("tiny-pg2");
      const { entries } = await opened(arrays);
      const expected = new Map([...entries].map(([name, { shape }]) => [name, shape]));
      const changes = fc.record({
        name: fc.constantFrom(...arrays.keys()),
        kind: fc.constantFrom("axes", "size", "rank", "type", "gone" as const),
        axis: fc.nat(4),
        size: fc.nat(6),
      });
      const property = fc.asyncProperty(changes, async ({ name, kind, axis, size }) => {
        const { dtype, shape } = arrays.get(name)!;
        const at = axis % shape.length;
        const other = {
          axes: [...shape.slice(at), ...shape.slice(0, at)],
          size: shape.with(at, size),
          rank: [...shape.slice(0, at), 1, ...shape.slice(at)],
          type: shape,
          gone: shape,
        }[kind];
        if (kind !== "type" && kind !== "gone" && String(other) === String(shape)) return;
        const count = other.reduce((product, axis) => product * axis, 1);
        const wider = kind === "type" ? "F64" : dtype;
        const changed = new Map(arrays);
        if (kind === "gone") changed.delete(name);
        else changed.set(name, { dtype: wider, shape: other, data: new Uint8Array(count * (wider === "F64" ? 8 : 4)) });
        const opening = async (): Promise<void> => (await opened(changed)).check(expected);
        await assert.rejects(opening(), weightsError(/./), `${name} ${kind} [${other}]`);
      });
      await fc.assert(property, { numRuns: 150, seed: 11 });
    });

    it("when its values are no floats", async () => {
      const arrays = await changed(TABLE, (array) => ({ dtype: "I32", shape: array.shape, data: array.data }));
      const checkpoint = await opened(arrays);
      const expected = new Map([...checkpoint.entries].map(([name, { shape }]) => [name, shape]));
      assert.throws(
        () => checkpoint.check(expected),
        weightsError(/embed_tokens\.weight is I32, expected F32, F16 or BF16/),
      );
    });
  });

  describe("in a folder", () => {
    const tiny = join(archives, "tiny-pg1", "f32.npz");
    let folder: string;
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), "npz-files-"));
      await copyFile(tiny, join(folder, "pt_224.npz"));
      await writeFile(
        join(folder, "vae-oid.npz"),
        encodeNpz(new Map([["a", { dtype: "F32", shape: [1], data: new Uint8Array(4) }]])),
      );
    });
    afterEach(() => rm(folder, { recursive: true }));

    it("is found among other archives", async () => {
      const checkpoint = await openWeights(await openFolder(folder));
      assert.equal(checkpoint.entries.get("language_model.model.norm.weight")!.file, "pt_224.npz");
      await checkpoint.close();
    });

    it("is asked for by its name where there are several", async () => {
      await copyFile(tiny, join(folder, "ft.npz"));
      const several = weightsError(/holds several models, ft\.npz, pt_224\.npz; give the path of one/);
      await assert.rejects(openWeights(await openFolder(folder)), several);
      const checkpoint = await openWeights(await openFolder(join(folder, "ft.npz")));
      assert.equal(checkpoint.entries.get("language_model.model.norm.weight")!.file, "ft.npz");
      await checkpoint.close();
    });

    it("gives way to safetensors", async () => {
      await copyFile(join(models, "tiny-pg1", "model.safetensors"), join(folder, "model.safetensors"));
      const checkpoint = await openWeights(await openFolder(folder));
      assert.equal(checkpoint.entries.get("language_model.model.norm.weight")!.file, "model.safetensors");
      await checkpoint.close();
    });

    it("is read by name as a safetensors file is", async () => {
      const file = join(models, "tiny-pg2-sharded", "model-00002-of-00003.safetensors");
      const checkpoint = await openWeights(await openFolder(file));
      assert.ok(checkpoint.entries.size > 20 && checkpoint.entries.size < 60);
      await checkpoint.close();
      await withFolder({ "other.bin": "x" }, async (path) => {
        await assert.rejects(
          openFolder(join(path, "other.bin")),
          weightsError(/expected a model folder, found a file/),
        );
      });
    });
  });

  it("bf16 is read whether NumPy calls it |V2 or <V2", async () => {
    const bytes = new Uint8Array(await readFile(join(archives, "tiny-pg1", "bf16.npz")));
    const plain = await openWeights(folderOf(bytes).folder);
    const renamed = Buffer.from(Buffer.from(bytes).toString("latin1").replaceAll("'|V2'", "'<V2'"), "latin1");
    const other = await openWeights(folderOf(new Uint8Array(renamed)).folder);
    const name = "language_model.model.layers.1.mlp.down_proj.weight";
    for (const checkpoint of [plain, other]) await checkpoint.stage(name);
    const [a, b] = [plain, other].map((checkpoint) => checkpoint.get(name, [32, 37]));
    assert.deepEqual(a.dataSync(), b.dataSync());
    assert.equal(toFloat32(new Uint8Array(2), "BF16")[0], 0);
    tf.dispose([a, b]);
  });
});
