import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { encodeSafetensors, memorySource, readHeader, type TensorData } from "../../weights/index.js";
import { type TensorToWrite, writeShards } from "../../weights/shards.js";
import { inTemporaryFolder } from "../support/temporary.js";
import { f32, randomOf, weightsError } from "./helpers.js";

const random = randomOf(3);
/** Tensors of 40, 24, 12, 100 and 8 bytes, named against their order. */
const TENSORS = new Map<string, TensorData>([
  ["e", f32([10], random)],
  ["d", f32([2, 3], random)],
  ["c", f32([3], random)],
  ["b", f32([5, 5], random)],
  ["a", { dtype: "BF16", shape: [4], data: new Uint8Array(8).fill(7) }],
]);
const bytesOf = ({ data }: TensorData): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
const toWrite = (tensors = TENSORS): TensorToWrite[] =>
  [...tensors].map(([name, tensor]) => ({
    name,
    dtype: tensor.dtype,
    shape: tensor.shape,
    async *pieces() {
      const bytes = bytesOf(tensor);
      for (let at = 0; at < bytes.length; at += 16) yield bytes.subarray(at, at + 16);
    },
  }));
type Index = { metadata: { total_size: number }; weight_map: Record<string, string> };

describe("weights/shards", () => {
  it("one file holds what fits, byte for byte as tensors in memory are encoded", async () => {
    await inTemporaryFolder(async (folder) => {
      let heard = 0;
      const onBytes = (bytes: number): void => void (heard += bytes);
      const written = await writeShards(folder, toWrite(), { maxShardBytes: 184, onBytes });
      assert.deepEqual(written, { files: ["model.safetensors"], totalBytes: 184 });
      assert.deepEqual(await readdir(folder), ["model.safetensors"]);
      const bytes = new Uint8Array(await readFile(join(folder, "model.safetensors")));
      assert.deepEqual(bytes, encodeSafetensors(TENSORS, { format: "pt" }));
      assert.equal(heard, 184);
    });
  });

  for (const [most, expected] of [
    [183, ["edcb", "a"]],
    [176, ["edcb", "a"]],
    [175, ["edc", "ba"]],
    [64, ["ed", "c", "b", "a"]],
    [63, ["e", "dc", "b", "a"]],
    [1, ["e", "d", "c", "b", "a"]],
  ] as const) {
    it(`shards of ${most} bytes hold ${expected.join(", ")}: the order given, a tensor uncut, and an index`, async () => {
      await inTemporaryFolder(async (folder) => {
        const { files, totalBytes } = await writeShards(folder, toWrite(), { maxShardBytes: most });
        assert.equal(totalBytes, 184);
        const last = String(expected.length).padStart(5, "0");
        const names = expected.map((_, i) => `model-0000${i + 1}-of-${last}.safetensors`);
        assert.deepEqual(files, [...names, "model.safetensors.index.json"]);
        const index = JSON.parse(await readFile(join(folder, "model.safetensors.index.json"), "utf8")) as Index;
        assert.equal(index.metadata.total_size, 184);
        assert.deepEqual(Object.keys(index.weight_map), ["a", "b", "c", "d", "e"]);
        for (const [i, held] of expected.entries()) {
          const source = memorySource(names[i], await readFile(join(folder, names[i])));
          const { tensors, metadata } = await readHeader(source);
          assert.deepEqual(metadata, { format: "pt" });
          assert.deepEqual([...tensors.keys()].sort(), [...held].sort());
          for (const { name, start, end } of tensors.values()) {
            assert.equal(index.weight_map[name], names[i]);
            assert.deepEqual(await source.read(start, end), bytesOf(TENSORS.get(name)!).slice(), name);
          }
        }
      });
    });
  }

  it("a tensor that gives other bytes than announced, or fails, leaves no file", async () => {
    const [first, ...rest] = toWrite();
    const shorter = { ...first, shape: [11] };
    const failing = {
      ...first,
      async *pieces() {
        yield new Uint8Array(16);
        throw new Error("no more");
      },
    };
    await inTemporaryFolder(async (folder) => {
      const writing = (tensor: TensorToWrite) => writeShards(folder, [tensor, ...rest], { maxShardBytes: 1000 });
      await assert.rejects(writing(shorter), weightsError(/tensor e gave 40 bytes, expected 44/));
      await assert.rejects(writing(failing), /^Error: no more$/);
      await assert.rejects(writing({ ...first, name: "a" }), weightsError(/two tensors are called a/));
      assert.deepEqual(await readdir(folder), []);
    });
  });
});
