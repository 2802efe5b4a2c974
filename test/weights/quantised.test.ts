import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { geluTanh } from "../../layers/gelu.js";
import { dense, heldDtype } from "../../layers/stored.js";
import { runKernel } from "../../layers/kernel.js";
import { kernelAddon } from "../../src/backends/native/kernels.js";
import { MappingHolder } from "../../src/backends/native/weight-holder.js";
import type { CheckpointEntry } from "../../weights/checkpoint-entry.js";
import { type FloatDType, toFloat32 } from "../../weights/dtype.js";
import { WeightsError } from "../../weights/errors.js";
import { withQuantised } from "../../weights/quantised/bitsandbytes.js";
import { midpointsOf, NF4 } from "../../weights/quantised/codebooks.js";
import { isQuantised } from "../../weights/quantised/quantised-entry.js";
import { readHeader } from "../../weights/safetensors.js";
import { writeSafetensors } from "../../weights/write-safetensors.js";
import { memorySource, openFolder } from "../../weights/source.js";
import { mappable } from "../support/mappable.js";
import type { TensorData } from "../../weights/tensor-data.js";
import { leakFree, onEachBackend, withKernels } from "../support/backends.js";
import { expectLogits, FILE, matrices, near, nearest, PACKED_MODELS, same } from "../support/packed-matrices.js";
import { tinyFolder } from "../support/tiny.js";
import { openWeights } from "../../weights/open-weights.js";

describe("packed matrices of bitsandbytes", () => {
  it("are unpacked to the very numbers that bitsandbytes unpacks them to", async () => {
    const { packed, numbers } = await matrices();
    let count = 0;
    for (const [name, entry] of packed.entries) {
      if (!isQuantised(entry)) continue;
      const expected = await numbers(name.replace(/weight$/, "expected"));
      let heard = 0;
      const values = toFloat32(await entry.read((bytes) => (heard += bytes)), entry.dtype);
      same(values, expected, name);
      assert.equal(heard, entry.packedBytes);
      count++;
    }
    assert.equal(count, 45);
  });

  it("with a state of each kind are refused: which one counts is not defined", async () => {
    const { raw } = await matrices();
    const files = (entries: Map<string, CheckpointEntry>) => ({
      entries,
      sources: new Map([[FILE, memorySource(FILE, readFileSync(FILE))]]),
      close: async () => {},
    });
    const [state] = [...raw.keys()].filter((name) => name.endsWith("__nf4"));
    const both = new Map<string, CheckpointEntry>(raw).set(state.replace(/nf4$/, "fp4"), raw.get(state)!);
    await assert.rejects(withQuantised(files(both)), /WeightsError: .* is packed in two ways/);
  });

  it("take their tables with them, and leave other tensors as they are", async () => {
    const { packed, raw } = await matrices();
    const names = [...packed.entries.keys()];
    assert.deepEqual(
      names.filter((name) => !/\.(weight|source|expected)$/.test(name)),
      [],
    );
    assert.equal(packed.entries.get("odd.nf4.f32.source"), raw.get("odd.nf4.f32.source"));
    const plain = { ...packed, entries: new Map([["x", raw.get("odd.nf4.f32.source")!]]) };
    assert.equal(await withQuantised(plain), plain);
  });

  it("midpoints of the codebook are those that its codes are chosen by", () => {
    assert.equal(midpointsOf(NF4).length, 15);
    assert.ok(midpointsOf(NF4).every((point, i) => point > NF4[i] && point < NF4[i + 1]));
  });
});

describe("a packed matrix that lies is refused by its name", () => {
  const base = "even.nf4.bf16.weight";
  const states = `${base}.quant_state.bitsandbytes__nf4`;
  /** The matrix and its tables, some of them changed. */
  async function changed(change: (tensors: Map<string, TensorData>) => void): Promise<unknown> {
    const source = memorySource(FILE, readFileSync(FILE));
    const tensors = new Map<string, TensorData>();
    for (const [name, { dtype, shape, start, end }] of (await readHeader(source)).tensors) {
      if (name.startsWith(base) || name.startsWith("even.int8.")) {
        tensors.set(name, { dtype, shape, data: await source.read(start, end) });
      }
    }
    change(tensors);
    const folder = mkdtempSync(path.join(tmpdir(), "paligemma-packed-"));
    try {
      await writeSafetensors(path.join(folder, "model.safetensors"), tensors);
      const checkpoint = await openWeights(await openFolder(folder));
      try {
        await checkpoint.stage("");
      } finally {
        await checkpoint.close();
      }
      return null;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  const state = (change: (state: Record<string, unknown>) => void) =>
    changed((tensors) => {
      const json = JSON.parse(Buffer.from(tensors.get(states)!.data as Uint8Array).toString()) as Record<
        string,
        unknown
      >;
      change(json);
      const data = new Uint8Array(Buffer.from(JSON.stringify(json)));
      tensors.set(states, { dtype: "U8", shape: [data.length], data });
    });
  const text = (content: string) => (tensors: Map<string, TensorData>) => {
    const data = new Uint8Array(Buffer.from(content));
    tensors.set(states, { dtype: "U8", shape: [data.length], data });
  };
  const shorter = (name: string) => (tensors: Map<string, TensorData>) => {
    const { dtype, data } = tensors.get(name)!;
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const size = dtype === "F32" ? 4 : 1;
    tensors.set(name, { dtype, shape: [bytes.length / size - 1], data: bytes.slice(size) });
  };

  const cases: Record<string, () => Promise<unknown>> = {
    "without absmax": () => changed((tensors) => tensors.delete(`${base}.absmax`)),
    "without its codebook": () => changed((tensors) => tensors.delete(`${base}.quant_map`)),
    "without the outer absmax": () => changed((tensors) => tensors.delete(`${base}.nested_absmax`)),
    "without the outer map": () => changed((tensors) => tensors.delete(`${base}.nested_quant_map`)),
    "without its codes": () => changed((tensors) => tensors.delete(base)),
    "with a short absmax": () => changed(shorter(`${base}.absmax`)),
    "with a short codebook": () => changed(shorter(`${base}.quant_map`)),
    "with short codes": () => changed(shorter(base)),
    "with a state that is no JSON": () => changed(text("{")),
    "with a state that is a list": () => changed(text("[]")),
    "with a key twice": () => changed(text('{"blocksize":64,"blocksize":64}')),
    "with another type in its state": () => state((json) => (json.quant_type = "fp4")),
    "with odd blocks": () => state((json) => (json.blocksize = 63)),
    "with blocks as text": () => state((json) => (json.blocksize = "64")),
    "with a type that is none": () => state((json) => (json.dtype = "constructor")),
    "with a larger shape": () => state((json) => (json.shape = [5, 193])),
    "with a shape of one axis": () => state((json) => (json.shape = [960])),
    "with a negative shape": () => state((json) => (json.shape = [-5, -192])),
    "with an offset that is no number": () => state((json) => (json.nested_offset = null)),
    "with a state of a megabyte": () => state((json) => (json.more = "x".repeat(2 ** 20))),
    "of int8 with a short scale": () => changed(shorter("even.int8.SCB")),
    "of int8 that is not row by row": () =>
      changed((tensors) => tensors.set("even.int8.weight_format", { dtype: "U8", shape: [], data: Uint8Array.of(2) })),
    "of int8 without its codes": () => changed((tensors) => tensors.delete("even.int8.weight")),
  };
  for (const [what, run] of Object.entries(cases)) {
    it(what, () => assert.rejects(run(), WeightsError));
  }
  it("and unchanged it is read", async () => assert.equal(await changed(() => {}), null));
});

onEachBackend("checkpoints of bitsandbytes", () => {
  for (const name of PACKED_MODELS) {
    leakFree(`${name}: the logits of transformers with the unpacked weights, held packed`, () => expectLogits(name));
  }
});

withKernels("matrices of 4 and 8 bit in the kernels", () => {
  const addon = kernelAddon;

  leakFree("are unpacked to the numbers of bitsandbytes, mapped from the file and from memory", async () => {
    const { packed, numbers } = await matrices();
    const holder = new MappingHolder(addon()!, null);
    const file = mappable(FILE);
    for (const [name, entry] of packed.entries) {
      if (!isQuantised(entry)) continue;
      const expected = await numbers(name.replace(/weight$/, "expected"));
      const { codes, shape, form } = entry;
      const bytes = readFileSync(FILE).subarray(codes.start, codes.end);
      for (const stored of [{ file, start: codes.start }, { bytes: new Uint8Array(bytes) }]) {
        const tensor = holder.packing.hold(holder.packing.take(stored, await entry.tables(), shape, form));
        assert.equal(heldDtype(tensor), form);
        const wide = tf.tidy(() => dense(tensor).clone());
        same(wide.dataSync() as Float32Array, expected, name);
        tf.dispose([tensor, wide]);
      }
    }
    holder.close();
    file.close();
  });

  leakFree(
    "are packed into NF4 as bitsandbytes packs them, and into int8 by the nearest code, on every instruction set",
    async () => {
      const { packed, numbers, raw } = await matrices();
      const holder = new MappingHolder(addon()!, null);
      const file = mappable(FILE);
      for (const instructions of addon()!.info().available) {
        addon()!.select(instructions);
        for (const [name, entry] of packed.entries) {
          const single = name.includes(".nf4.f32.") || name.includes(".int8.");
          if (!isQuantised(entry) || !single) continue;
          const source = raw.get(name.replace(/weight$/, "source"))!;
          const stored = { file, start: source.start };
          const made = await holder.packing.pack(stored, source.dtype as FloatDType, entry.shape, entry.form);
          const tensor = holder.packing.hold(made);
          const wide = tf.tidy(() => dense(tensor).clone());
          const expected = await numbers(name.replace(/weight$/, "expected"));
          const values = wide.dataSync() as Float32Array;
          if (entry.form === "nf4") same(values, expected, `${name} on ${instructions}`);
          else nearest(values, await numbers(source.name), entry.shape[1]);
          tf.dispose([tensor, wide]);
        }
      }
      addon()!.select("");
      holder.close();
      file.close();
    },
  );

  leakFree(
    "are multiplied, in any number of rows, as the weights that they stand for, on every instruction set",
    async () => {
      const holder = new MappingHolder(addon()!, null);
      const normal = (count: number, seed: number) =>
        tf.randomNormal([count], 0, 1, "float32", seed).dataSync() as Float32Array;
      for (const [out, width] of [
        [70, 192],
        [33, 100], // blocks across rows, and a width that is no multiple of a vector
        [16, 64],
        [129, 1040],
      ]) {
        const source = tf.tidy(() => normal(out * width, out));
        const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
        for (const form of ["nf4", "int8"] as const) {
          const shape = [out, width];
          const made = await holder.packing.pack({ bytes }, "F32", shape, form);
          const [w, gate] = [
            holder.packing.hold(made),
            holder.packing.hold(await holder.packing.pack({ bytes }, "F32", shape, form)),
          ];
          const wide = tf.tidy(() => dense(w).clone());
          for (const instructions of addon()!.info().available) {
            addon()!.select(instructions);
            for (const rows of [1, 2, 5, 8, 9, 31]) {
              tf.tidy(() => {
                const x = tf.tensor2d(normal(rows * width, rows), [rows, width]);
                const bias = tf.tensor1d(normal(out, 5));
                const what = `${form} [${out}, ${width}] · ${rows} on ${instructions}`;
                const plain = x.matMul(wide as tf.Tensor2D, false, true);
                const product = runKernel("PaligemmaLinear", { x, w }, { activation: 0, coarse: 0, inner: 1 })!;
                near(product, plain, 2e-6, what);
                const biased = runKernel(
                  "PaligemmaLinearBias",
                  { x, w, bias },
                  { activation: 0, coarse: 0, inner: 1 },
                )!;
                near(biased, plain.add(bias), 2e-6, `${what}, with a bias`);
                const coarse = runKernel("PaligemmaLinear", { x, w }, { activation: 0, coarse: 1, inner: 1 })!;
                near(coarse, plain, 6e-3, `${what}, coarse`);
                const down = tf.tensor2d(normal(width * out, 9), [width, out]);
                const hidden = geluTanh(plain).mul(plain) as tf.Tensor2D;
                const mlp = runKernel("PaligemmaGatedMlp", { x, gate: w, up: gate, down }, { coarse: 0, among: 0 })!;
                near(mlp, hidden.matMul(down, false, true), 4e-6, `${what}, gated`);
              });
            }
            tf.tidy(() => {
              const ids = tf.tensor2d([[out - 1, 0, 3]], undefined, "int32");
              const rows = runKernel("PaligemmaEmbed", { ids, w }, { scale: 3 })!;
              near(rows, tf.gather(wide, ids).mul(3), 1e-7, `rows of ${form}`);
            });
          }
          addon()!.select("");
          tf.dispose([w, gate, wide]);
        }
      }
      holder.close();
    },
  );

  it("what never becomes a tensor is freed by close", async () => {
    const { packed, raw } = await matrices();
    const before = addon()!.info().weights;
    const holder = new MappingHolder(addon()!, null);
    const source = raw.get("even.nf4.f32.source")!;
    const file = mappable(FILE);
    await holder.packing.pack({ file, start: source.start }, "F32", [5, 192], "nf4");
    const entry = packed.entries.get("even.nf4.bf16.weight")!;
    assert.ok(isQuantised(entry));
    const taken = holder.packing.take({ file, start: entry.codes.start }, await entry.tables(), entry.shape, "nf4");
    holder.close();
    file.close();
    assert.equal(addon()!.info().weights, before);
    assert.throws(() => holder.packing.hold(taken), /closed/);
  });
});

describe("the folder of a packed checkpoint", () => {
  it("needs every table, and says which is missing", async () => {
    const folder = mkdtempSync(path.join(tmpdir(), "paligemma-packed-"));
    cpSync(tinyFolder("tiny-pg2-nf4"), folder, { recursive: true });
    const file = path.join(folder, "model.safetensors");
    const source = memorySource(file, readFileSync(file));
    const tensors = new Map<string, TensorData>();
    for (const [name, { dtype, shape, start, end }] of (await readHeader(source)).tensors) {
      tensors.set(name, { dtype, shape, data: await source.read(start, end) });
    }
    const missing = [...tensors.keys()].find((name) => name.endsWith("k_proj.weight.absmax"))!;
    tensors.delete(missing);
    writeFileSync(file, "");
    await writeSafetensors(file, tensors);
    await assert.rejects(openWeights(await openFolder(folder)), {
      message: /layers\.\d+\.self_attn\.k_proj\.weight.*missing/,
    });
    rmSync(folder, { recursive: true });
  });
});
