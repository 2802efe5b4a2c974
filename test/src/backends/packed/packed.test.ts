import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { loadNative } from "../../../../src/backends/native/load.js";
import { HostHolder } from "../../../../src/backends/packed/host-packing.js";
import { PaliGemma } from "../../../../src/paligemma.js";
import { leakFree, onEachBackend } from "../../../support/backends.js";
import { expectPacking } from "../../../support/packed-matrices.js";
import { tinyFolder } from "../../../support/tiny.js";

const question = { image: { data: new Uint8Array(30 * 20 * 3).fill(90), width: 30, height: 20 }, prompt: "caption en" };

onEachBackend("packed matrices without kernels for them", (backend) => {
  // The native backend's own are in the addon; its other way is tried below, in processes of its own.
  if (backend === "tensorflow") return it("are the addon's there", () => {});

  leakFree("are taken, made, unpacked and multiplied piece by piece as bitsandbytes unpacks them", async () => {
    const holder = new HostHolder(backend, null, () => null);
    assert.equal(await expectPacking(holder), 45);
    holder.close();
  });

  leakFree("--dtype nf4 and int8 pack any checkpoint, and answer as the native kernels do", async () => {
    const settings = { products: "exact" } as const; // else native products of 8 bit round what they multiply
    for (const dtype of ["nf4", "int8"] as const) {
      const logits = async (on: "tensorflow" | typeof backend) => {
        const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend: on, dtype, settings });
        assert.equal(model.dtype, dtype);
        const result = await model.forward(question);
        const values = (await result.data()) as Float32Array;
        result.dispose();
        model.dispose();
        return values;
      };
      const here = await logits(backend);
      if ((await loadNative()) === null) continue;
      const there = await logits("tensorflow");
      await tf.setBackend(backend);
      const peak = there.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
      here.forEach((value, i) =>
        assert.ok(Math.abs(value - there[i]) < 1e-4 * peak, `${dtype}: ${value}, ${there[i]}`),
      );
    }
  });

  leakFree("--dtype float32 unpacks what a file has packed: the same numbers, held wide", async () => {
    const answers: number[][] = [];
    for (const [dtype, held] of [
      ["auto", "nf4"],
      ["float32", "float32"],
    ] as const) {
      const tokenizer = tinyFolder("tiny-pg2");
      const model = await PaliGemma.load(tinyFolder("tiny-pg2-nf4"), { backend, dtype, tokenizer });
      assert.equal(model.dtype, held);
      answers.push((await model.generate(question, { maxNewTokens: 5 })).tokens);
      model.dispose();
    }
    assert.deepEqual(answers[0], answers[1]);
  });
});

describe("packed matrices by TensorFlow's own operations, as on a GPU", () => {
  for (const kernels of ["stock", "gpu"]) {
    it(`(${kernels}) stay packed, and have the numbers of bitsandbytes and the logits of transformers`, async function () {
      if ((await loadNative()) === null) return this.skip();
      const script = fileURLToPath(new URL("../../../support/stock-packing.ts", import.meta.url));
      const env = { ...process.env, PALIGEMMA_KERNELS: kernels };
      const run = await promisify(execFile)(process.execPath, ["--import", "tsx", script], { env });
      assert.deepEqual(JSON.parse(run.stdout), { matrices: 45, models: 4, leaked: { tensors: 0, handles: 0 } });
    }).timeout(120_000);
  }
});
