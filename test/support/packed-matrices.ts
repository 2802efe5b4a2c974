import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { dense, heldDtype } from "../../layers/stored.js";
import { Matrix } from "../../layers/matrix.js";
import { loadConfig, loadNetwork } from "../../src/loading/load-network.js";
import type { CheckpointEntry } from "../../weights/checkpoint-entry.js";
import { type FloatDType, roundInPlace, toFloat32 } from "../../weights/dtype.js";
import type { WeightHolder } from "../../weights/holder.js";
import { withQuantised } from "../../weights/quantised/bitsandbytes.js";
import { isQuantised } from "../../weights/quantised/quantised-entry.js";
import { readHeader } from "../../weights/safetensors.js";
import { memorySource, openFolder } from "../../weights/source.js";
import { fixtures, modelInputs, readReference, readTensors } from "../parity/reference.js";
import { EXACT } from "../parity/run.js";
import { tinyFolder } from "./tiny.js";

/** Matrices that bitsandbytes has packed, with what it packed and what it unpacks them to. */
export const FILE = path.join(fixtures, "quantised", "matrices.safetensors");
/** Checkpoints that bitsandbytes has packed. */
export const PACKED_MODELS = ["tiny-pg2-nf4", "tiny-pg1-fp4", "tiny-pg1-int8", "tiny-pg2-int8"];

/** The entries of one file of the fixtures, packed matrices found, and the raw ones beside them. */
export async function matrices() {
  const source = memorySource(FILE, readFileSync(FILE));
  const header = await readHeader(source);
  const raw = new Map([...header.tensors].map(([name, entry]) => [name, { ...entry, file: FILE }]));
  const files = {
    entries: raw as Map<string, CheckpointEntry>,
    sources: new Map([[FILE, source]]),
    close: async () => {},
  };
  const packed = await withQuantised(files);
  const numbers = async (name: string) => {
    const { start, end, dtype } = raw.get(name)!;
    return toFloat32(await source.read(start, end), dtype);
  };
  return { packed, numbers, raw };
}

/** Equal numbers. Zeros may differ in sign: the codebook in a file has one zero where FP4 has two. */
export function same(actual: Float32Array, expected: Float32Array, what: string): void {
  assert.equal(actual.length, expected.length, what);
  const wrong = actual.findIndex((value, i) => value !== expected[i]);
  assert.equal(wrong, -1, `${what}: ${actual[wrong]} at ${wrong}, expected ${expected[wrong]}`);
}

/** Numbers that differ by no more than a part of the largest. */
export function near(actual: tf.Tensor, expected: tf.Tensor, limit: number, what: string): void {
  const error = actual.sub(expected).abs().max().div(expected.abs().max()).dataSync()[0];
  assert.ok(error <= limit, `${what}: ${error}`);
}

/**
 * Each number is the nearest of 255 even steps up to the largest of its row. (At a tie bitsandbytes may take the
 * other.)
 */
export function nearest(actual: Float32Array, source: Float32Array, width: number): void {
  for (let row = 0; row < source.length / width; row++) {
    const own = source.subarray(row * width, (row + 1) * width);
    const step = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0) / 127;
    own.forEach((value, i) => {
      const error = Math.abs(actual[row * width + i] - value);
      assert.ok(error <= step * 0.50001, `row ${row}, ${i}: ${error / step} steps`);
    });
  }
}

/**
 * Claims that a packed checkpoint, held packed on the current backend, has the logits of transformers with the unpacked
 * weights, within a part of the largest.
 */
export async function expectLogits(name: string, limit = 1e-5): Promise<void> {
  const folder = await openFolder(tinyFolder(name));
  const model = await loadNetwork(folder, await loadConfig(folder), EXACT);
  assert.equal(model.dtype, name.replace(/^.*-/, ""));
  const base = name.replace(/-\w+$/, "");
  const inputs = modelInputs(await readReference(path.join(fixtures, "references", base, "prompt")));
  const expected = (await readTensors(path.join(fixtures, "quantised", "logits.safetensors"))).get(name)!;
  const logits = await model.forwardAsync(inputs);
  const values = (await logits.data()) as Float32Array;
  const wanted = expected.values as Float32Array;
  const peak = wanted.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i])), 0);
  assert.ok(worst <= limit * peak, `${worst / peak}`);
  tf.dispose([logits, inputs.pixelValues]);
  model.dispose();
}

const unpacked = (tensor: tf.Tensor): Float32Array => tf.tidy(() => dense(tensor).clone()).dataSync() as Float32Array;

const bytesOf = (entry: { start: number; end: number }): Uint8Array =>
  new Uint8Array(readFileSync(FILE).subarray(entry.start, entry.end));

/**
 * Claims about a holder that packs in JavaScript, on the current backend: what it takes and what it makes are unpacked
 * to the numbers of bitsandbytes, and multiplied as those. Returns how many matrices were compared.
 */
export async function expectPacking(holder: WeightHolder): Promise<number> {
  const packing = holder.packing;
  const { packed, numbers, raw } = await matrices();
  let count = 0;
  for (const [name, entry] of packed.entries) {
    if (!isQuantised(entry)) continue;
    const { shape, form } = entry;
    const expected = await numbers(name.replace(/weight$/, "expected"));
    const taken = packing.hold(packing.take({ bytes: bytesOf(entry.codes) }, await entry.tables(), shape, form));
    assert.equal(heldDtype(taken), form);
    tf.tidy(() => same(unpacked(taken), expected, name));
    taken.dispose();
    if (name.includes(".nf4.") || name.includes(".int8.")) {
      const source = raw.get(name.replace(/weight$/, "source")) as unknown as {
        start: number;
        end: number;
        dtype: string;
      };
      const made = packing.hold(
        await packing.pack({ bytes: bytesOf(source) }, source.dtype as FloatDType, shape, form),
      );
      const values = tf.tidy(() => unpacked(made));
      if (form === "nf4" && source.dtype === "F32") same(values, expected, `${name}, packed here`);
      // Of 16 bit bitsandbytes rounds in between: other codes may come out, but what they stand for has 16 bit too.
      else if (form === "nf4") same(values, roundedTo(values, source.dtype as FloatDType), `${name}, packed here`);
      else nearest(values, await numbers(name.replace(/weight$/, "source")), shape[1]);
      made.dispose();
    }
    count++;
  }
  for (const shape of [
    [33, 100],
    [16, 64],
    [70, 193],
  ] as const) {
    for (const form of ["nf4", "int8"] as const) await expectProducts(holder, form, shape);
  }
  await expectProducts(holder, "nf4", [4133, 2030]); // in two pieces, of which the second begins within a block
  return count;
}

const roundedTo = (values: Float32Array, dtype: FloatDType): Float32Array => {
  const copy = values.slice();
  roundInPlace(copy, dtype);
  return copy;
};

/** Numbers in [-0.5, 0.5) without an order. */
const scattered = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => (Math.imul(i, 0x9e3779b1) >>> 0) / 2 ** 32 - 0.5);

async function expectProducts(
  holder: WeightHolder,
  form: "nf4" | "int8",
  shape: readonly [number, number],
): Promise<void> {
  const [out, width] = shape;
  const source = scattered(out * width);
  const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
  const w = holder.packing.hold(await holder.packing.pack({ bytes }, "F32", shape, form));
  tf.tidy(() => {
    const [wide, matrix] = [tf.tensor2d(unpacked(w), [out, width]), new Matrix({ read: () => w })];
    const x = tf.randomNormal([2, 3, width], 0, 1, "float32", 7);
    const bias = tf.randomNormal([out], 0, 1, "float32", 8);
    const plain = x.reshape([6, width]).matMul(wide, false, true).reshape([2, 3, out]);
    near(matrix.multiply(x, { bias }), plain.add(bias), 2e-6, `${form} [${shape}]`);
    const ids = tf.tensor2d(
      [
        [out - 1, 0, 1],
        [2, 9, 9],
      ],
      undefined,
      "int32",
    );
    same(matrix.rows(ids, 3).dataSync() as Float32Array, tf.gather(wide, ids).mul(3).dataSync() as Float32Array, form);
  });
  w.dispose();
}
