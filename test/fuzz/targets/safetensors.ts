import assert from "node:assert/strict";

import fc from "fast-check";

import {
  encodeSafetensors,
  readHeader,
  type SafetensorsHeader,
  type TensorEntry,
} from "../../../weights/safetensors.js";
import { INDEX } from "../../../weights/shard-index.js";
import { openSafetensors } from "../../../weights/safetensors-files.js";
import type { WeightFiles } from "../../../weights/checkpoint-entry.js";
import type { DType } from "../../../weights/dtype.js";
import { memoryFolder, readOrRefused, requireEachKeyOnce, target, watchedSource } from "../fuzz.js";
import {
  type ByteEdit,
  byteEdits,
  editedBytes,
  editedJson,
  joined,
  type JsonEdit,
  jsonEdits,
  utf8,
} from "../mutations.js";

/**
 * Bits of each type, from the format's own list and not from the code under test. Source: safetensors `tensor.rs`,
 * `Dtype::bitsize`.
 */
const BITS: Record<string, number> = {
  ...{ BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, I16: 16, U16: 16, F16: 16, BF16: 16 },
  ...{ I32: 32, U32: 32, F32: 32, F64: 64, I64: 64, U64: 64 },
};

const counted = (length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * 37) % 256);
const tensor = (dtype: DType, shape: number[]) => {
  const size = shape.reduce((product, axis) => product * axis, BITS[dtype] / 8);
  return { dtype, shape, data: counted(size) };
};

/** Header and data of a small file. */
export function partsOf(file: Uint8Array): { header: Record<string, unknown>; data: Uint8Array } {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder().decode(file.subarray(8, 8 + length));
  return { header: JSON.parse(text) as Record<string, unknown>, data: file.subarray(8 + length) };
}

/** A file with this header's text. */
export function withHeader(text: string, data: Uint8Array): Uint8Array {
  const header = utf8(text);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  return joined(length, header, data);
}

const FILES = [
  new Map([
    ["a", tensor("F32", [2, 3])],
    ["b.weight", tensor("BF16", [5])],
    ["c", tensor("U8", [])],
  ]),
  new Map([
    ["x", tensor("I64", [1, 2, 1])],
    ["none", tensor("F16", [0, 4])],
    ["y", tensor("F8_E4M3", [7])],
  ]),
].map((tensors, i) => encodeSafetensors(tensors, i === 0 ? { format: "pt" } : undefined));

type Entry = { dtype: string; shape: number[]; data_offsets: [number, number] };

/** A second, simple reader: no checks but those that tell whether what was accepted is a right file. */
async function requireRight(file: Uint8Array): Promise<boolean> {
  const source = watchedSource("file", file);
  const read: SafetensorsHeader | null = await readOrRefused(() => readHeader(source));
  if (read === null) return false;
  const { header, data } = partsOf(file);
  requireEachKeyOnce(new TextDecoder().decode(file.subarray(8, file.length - data.length)));
  const entries = Object.entries(header).filter(([name]) => name !== "__metadata__") as [string, Entry][];
  assert.deepEqual([...read.tensors.keys()].sort(), entries.map(([name]) => name).sort());
  assert.deepEqual(read.metadata, header.__metadata__ ?? {});
  let covered = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of entries) {
    const found: TensorEntry = read.tensors.get(name)!;
    assert.deepEqual([found.dtype, found.shape], [dtype, shape]);
    assert.equal(
      shape.reduce((product, axis) => product * axis, BITS[dtype] / 8),
      offsets[1] - offsets[0],
    );
    assert.ok(found.start >= file.length - data.length && found.end <= file.length, "inside the file");
    assert.deepEqual(await source.read(found.start, found.end), new Uint8Array(data.subarray(...offsets)));
    covered += offsets[1] - offsets[0];
  }
  assert.equal(covered, data.length);
  return true;
}

/** Bytes are seldom wrong where the JSON is. */
const FEW = fc.oneof({ weight: 3, arbitrary: byteEdits(0) }, byteEdits(1));
const which = fc.nat(FILES.length - 1);

/** Headers with wrong JSON, and files with wrong bytes. */
export const headers = target({
  name: "safetensors headers",
  share: 10,
  cases: fc.oneof(
    { weight: 6, arbitrary: fc.record({ file: which, json: jsonEdits(), bytes: FEW }) },
    fc.record({ file: which, bytes: byteEdits(5) }),
    fc.record({ random: fc.uint8Array({ maxLength: 80 }) }),
  ),
  check: (input: Partial<{ file: number; json: JsonEdit[]; bytes: ByteEdit[]; random: Uint8Array }>) => {
    if (input.random) return requireRight(withHeader(`{${new TextDecoder().decode(input.random)}`, input.random));
    const { header, data } = partsOf(FILES[input.file ?? 0]);
    const file = input.json ? withHeader(editedJson(header, input.json), data) : FILES[input.file ?? 0];
    return requireRight(editedBytes(file, input.bytes ?? []));
  },
});

const SHARDS = { "one.safetensors": FILES[0], "two.safetensors": FILES[1] };
const weightMap = Object.fromEntries(
  Object.entries(SHARDS).flatMap(([file, bytes]) =>
    Object.keys(partsOf(bytes).header).flatMap((name) => (name === "__metadata__" ? [] : [[name, file]])),
  ),
);
const totalSize = FILES.reduce((sum, file) => sum + partsOf(file).data.length, 0);

/** Indexes that say something wrong of two right shards, and shards that are another's. */
export const indexes = target({
  name: "shard indexes",
  share: 8,
  cases: fc.record({ json: jsonEdits(), bytes: byteEdits(1), shard: fc.nat(9) }),
  check: async ({ json, bytes, shard }) => {
    const text = editedJson({ metadata: { total_size: totalSize }, weight_map: weightMap }, json);
    const files: Record<string, Uint8Array> = { ...SHARDS, [INDEX]: editedBytes(utf8(text), bytes) };
    if (shard === 0) files["one.safetensors"] = SHARDS["two.safetensors"];
    const found: WeightFiles | null = await readOrRefused(() => openSafetensors(memoryFolder(files), null));
    if (found === null) return false;
    requireEachKeyOnce(new TextDecoder().decode(files[INDEX]));
    const index = JSON.parse(new TextDecoder().decode(files[INDEX])) as {
      weight_map: Record<string, string>;
      metadata?: { total_size?: number };
    };
    assert.deepEqual([...found.entries.values()].map(({ name }) => name).sort(), Object.keys(index.weight_map).sort());
    for (const entry of found.entries.values()) {
      assert.equal(entry.file, index.weight_map[entry.name]);
      assert.ok(entry.name in partsOf(files[entry.file]).header);
    }
    assert.ok([undefined, totalSize].includes(index.metadata?.total_size));
    await found.close();
    return true;
  },
});
