import assert from "node:assert/strict";

import fc from "fast-check";

import type { CheckpointEntry, WeightFiles } from "../../../weights/checkpoint-entry.js";
import { fromFloat32, toFloat32 } from "../../../weights/dtype.js";
import { isQuantised } from "../../../weights/quantised/quantised-entry.js";
import { encodeSafetensors } from "../../../weights/safetensors.js";
import { openSafetensors } from "../../../weights/safetensors-files.js";
import { SINGLE } from "../../../weights/shard-index.js";
import type { TensorData } from "../../../weights/tensor-data.js";
import { memoryFolder, readOrRefused, requireEachKeyOnce, target } from "../fuzz.js";
import { editedJson, jsonEdits, utf8 } from "../mutations.js";
import { partsOf, withHeader } from "./safetensors.js";

const u8 = (length: number, step = 7): TensorData => ({
  dtype: "U8",
  shape: [length],
  data: Uint8Array.from({ length }, (_, i) => (i * step) % 256),
});
const f32 = (length: number): TensorData => ({
  dtype: "F32",
  shape: [length],
  data: Float32Array.from({ length }, (_, i) => (i - 3) / 4),
});

const STATE = { quant_type: "nf4", blocksize: 32, dtype: "float32", shape: [10, 9] };
const NESTED = { ...STATE, nested_blocksize: 32, nested_offset: 0.5, nested_dtype: "float32" };

/** A file of one matrix of 10 x 9 numbers in 4 bit, packed twice or once, and one in 8 bit. */
function tensorsOf(nested: boolean, state: Uint8Array): Map<string, TensorData> {
  const table = nested ? u8(3) : f32(3);
  const beside: [string, TensorData][] = nested
    ? [
        ["nested_absmax", f32(1)],
        ["nested_quant_map", f32(256)],
      ]
    : [];
  return new Map<string, TensorData>([
    ["q.weight", { ...u8(45), shape: [45, 1] }],
    ["q.weight.absmax", table],
    ["q.weight.quant_map", f32(16)],
    ...beside.map(([name, data]): [string, TensorData] => [`q.weight.${name}`, data]),
    ["q.weight.quant_state.bitsandbytes__nf4", { ...u8(0), shape: [state.length], data: state }],
    ["k.weight", { ...u8(6), dtype: "I8", shape: [2, 3] }],
    ["k.SCB", f32(2)],
    ["k.weight_format", { ...u8(1), shape: [] }],
    ["norm.weight", f32(4)],
  ]);
}

type Written = Record<string, { shape: number[]; data_offsets: [number, number] }>;

/** A second, simple unpacking, from what the file says. */
function simple(name: string, header: Written, data: Uint8Array): Float32Array {
  const bytes = (of: string): Uint8Array => data.slice(...header[of].data_offsets);
  const floats = (of: string): Float32Array => new Float32Array(bytes(of).buffer);
  if (name === "k.weight") {
    const [rows, columns] = header[name].shape;
    const codes = new Int8Array(bytes(name).buffer);
    const scales = floats("k.SCB");
    assert.deepEqual([codes.length, scales.length, bytes("k.weight_format")[0]], [rows * columns, rows, 0]);
    return Float32Array.from(
      codes,
      (code, i) => Math.fround(code * scales[Math.floor(i / columns)]) * Math.fround(1 / 127),
    );
  }
  const key = Object.keys(header).find((one) => one.startsWith(`${name}.quant_state`))!;
  requireEachKeyOnce(new TextDecoder().decode(bytes(key)));
  const state = JSON.parse(new TextDecoder().decode(bytes(key))) as typeof NESTED;
  assert.equal(key, `${name}.quant_state.bitsandbytes__${state.quant_type}`);
  const [rows, columns] = state.shape;
  const [codes, map] = [bytes(name), floats(`${name}.quant_map`)];
  assert.equal(codes.length, Math.ceil((rows * columns) / 2));
  const outer = state.nested_blocksize === undefined ? null : floats(`${name}.nested_absmax`);
  const absmax = (block: number): number => {
    if (!outer) return floats(`${name}.absmax`)[block];
    const inner = floats(`${name}.nested_quant_map`)[bytes(`${name}.absmax`)[block]];
    return Math.fround(
      Math.fround(inner * outer[Math.floor(block / state.nested_blocksize)]) + Math.fround(state.nested_offset),
    );
  };
  const values = Float32Array.from({ length: rows * columns }, (_, i) => {
    const code = i % 2 === 0 ? codes[i >> 1] >> 4 : codes[i >> 1] & 15;
    return map[code] * absmax(Math.floor(i / state.blocksize));
  });
  const rounding = ({ bfloat16: "BF16", float16: "F16" } as const)[state.dtype];
  return rounding ? toFloat32(fromFloat32(values, rounding), rounding) : values;
}

/** States and tables of bitsandbytes that say something wrong, or are of one another's size. */
export const quantised = target({
  name: "packed matrices of bitsandbytes",
  share: 6,
  cases: fc.record({ nested: fc.boolean(), state: jsonEdits(3), header: fc.oneof(fc.constant([]), jsonEdits(2)) }),
  check: async ({ nested, state, header }) => {
    const tensors = tensorsOf(nested, utf8(editedJson(nested ? NESTED : STATE, state)));
    const parts = partsOf(encodeSafetensors(tensors));
    const file = withHeader(editedJson(parts.header, header), parts.data);
    const found: WeightFiles | null = await readOrRefused(() =>
      openSafetensors(memoryFolder({ [SINGLE]: file }), null),
    );
    if (found === null) return false;
    const written = partsOf(file);
    let all = true;
    for (const [name, entry] of found.entries as Map<string, CheckpointEntry>) {
      if (!isQuantised(entry)) continue;
      const bytes: Uint8Array | null = await readOrRefused(() => entry.read(() => {}));
      all &&= bytes !== null;
      if (bytes) assert.deepEqual(toFloat32(bytes, entry.dtype), simple(name, written.header as Written, written.data));
    }
    return all;
  },
});
