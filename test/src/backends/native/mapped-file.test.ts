import { strict as assert } from "node:assert";
import { readdirSync, readlinkSync } from "node:fs";
import { cp, open, readdir, readFile, rename, truncate, writeFile } from "node:fs/promises";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { runKernel } from "../../../../layers/kernel.js";
import { kernelAddon } from "../../../../src/backends/native/kernels.js";
import { MappingHolder } from "../../../../src/backends/native/weight-holder.js";
import { PaliGemma } from "../../../../src/paligemma.js";
import { savePretrained } from "../../../../src/checkpoints/saving/save-pretrained.js";
import { openWeights } from "../../../../weights/open-weights.js";
import { WeightsError } from "../../../../weights/errors.js";
import { openFolder } from "../../../../weights/source.js";
import { fixtures, readReference } from "../../../parity/reference.js";
import { leakFree, withKernels } from "../../../support/backends.js";
import { mappable } from "../../../support/mappable.js";
import { inTemporaryFolder } from "../../../support/temporary.js";
import { tinyFolder } from "../../../support/tiny.js";

const MODEL = "tiny-pg2";

/** Where a link leads; "" for one that is gone by now. */
function targetOf(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return "";
  }
}
const WEIGHTS = "model.safetensors";
const MOST_TOKENS = 6;

/** Runs `body` with the path of a copy of a tiny model, and of its weight file. */
const withCopy = (body: (folder: string, weights: string) => Promise<void>): Promise<void> =>
  inTemporaryFolder(async (folder) => {
    await cp(tinyFolder(MODEL), folder, { recursive: true });
    await body(folder, path.join(folder, WEIGHTS));
  });

/** Writes other bytes over the second half of a file, which keeps its size. */
async function overwrite(file: string): Promise<void> {
  const { length } = await readFile(file);
  const handle = await open(file, "r+");
  await handle.write(Buffer.alloc(Math.floor(length / 2), 0x3f), 0, Math.floor(length / 2), Math.ceil(length / 2));
  await handle.close();
}

withKernels("a mapped weight file [tensorflow]", () => {
  let question: { image: string; prompt: string };
  let expected: number[];
  before(async () => {
    const folder = path.join(fixtures, "references", MODEL, "prompt");
    const reference = await readReference(folder);
    question = { image: path.join(folder, reference.pictures[0][0]), prompt: reference.prompts[0] };
    expected = reference.greedy[0].slice(0, MOST_TOKENS);
  });

  const load = (folder: string, dtype: "auto" | "int8" = "auto") =>
    PaliGemma.load(folder, { backend: "tensorflow", dtype });
  const tokensOf = async (model: PaliGemma) => (await model.generate(question, { maxNewTokens: MOST_TOKENS })).tokens;
  const refused = (file: string, what: RegExp) => (error: unknown) =>
    error instanceof WeightsError && error.message.startsWith(`${file}: `) && what.test(error.message);

  it("that is cut while it is in use is an error that names it, and another model goes on", () =>
    withCopy(async (folder, weights) => {
      const [cut, other] = [await load(folder), await load(tinyFolder(MODEL))];
      assert.deepEqual(await tokensOf(cut), expected);
      await truncate(weights, 4096);
      await assert.rejects(tokensOf(cut), refused(weights, /was cut|was written to/));
      assert.deepEqual(await tokensOf(other), expected);
      await assert.rejects(tokensOf(cut), refused(weights, /was cut|was written to/));
      cut.dispose();
      other.dispose();
    }));

  it("that is cut while an answer is computed is an error that names it", () =>
    withCopy(async (folder, weights) => {
      const model = await load(folder);
      const tap = (name: string, value: tf.Tensor): tf.Tensor => {
        if (name === "language.embed.hook_out" || name.endsWith("blocks.0.hook_resid_pre")) {
          void truncate(weights, 4096);
          for (const until = performance.now() + 20; performance.now() < until;);
        }
        return value;
      };
      await assert.rejects(
        async () => (await model.forward(question, { tap })).dispose(),
        refused(weights, /was cut|was written to/),
      );
      model.dispose();
    }));

  it("that is written to while it is in use is an error that names it", () =>
    withCopy(async (folder, weights) => {
      const model = await load(folder);
      await overwrite(weights);
      await assert.rejects(tokensOf(model), refused(weights, /was written to while it was in use/));
      model.dispose();
    }));

  it("that is cut is not saved", () =>
    withCopy(async (folder, weights) => {
      const model = await load(folder);
      await truncate(weights, 4096);
      await assert.rejects(savePretrained(model, path.join(folder, "out")), refused(weights, /was cut|was written to/));
      assert.ok(!(await readdir(folder)).includes("out"));
      model.dispose();
    }));

  it("that is replaced by another while it is in use goes on as the one that was loaded", () =>
    withCopy(async (folder, weights) => {
      const model = await load(folder);
      await writeFile(`${weights}.new`, "something else");
      await rename(`${weights}.new`, weights);
      assert.deepEqual(await tokensOf(model), expected);
      model.dispose();
    }));

  for (const [what, change] of [
    ["written to", overwrite],
    ["cut", (file: string) => truncate(file, 4096)],
  ] as const) {
    it(`that is ${what} between its header and its numbers is an error that names it`, () =>
      withCopy(async (folder, weights) => {
        const holder = new MappingHolder(kernelAddon()!, null);
        const checkpoint = await openWeights(await openFolder(folder), { holder });
        await change(weights);
        await assert.rejects(checkpoint.stage(""), refused(weights, /it was changed since it was opened/));
        await checkpoint.close();
      }));
  }

  it("that is cut while it is packed into 8 bit is an error that names it", () =>
    withCopy(async (folder, weights) => {
      const holder = new MappingHolder(kernelAddon()!, null, (_, shape) => (shape.length > 1 ? "int8" : null));
      const checkpoint = await openWeights(await openFolder(folder), { holder });
      await checkpoint.stage("multi_modal_projector");
      await truncate(weights, 4096);
      await assert.rejects(checkpoint.stage("language_model"), refused(weights, /was cut|was written to/));
      await checkpoint.close();
    }));

  it("that was packed whole into 8 bit is needed no more", () =>
    withCopy(async (folder, weights) => {
      const model = await load(folder, "int8");
      const before = await tokensOf(model);
      await truncate(weights, 0);
      assert.deepEqual(await tokensOf(model), before);
      model.dispose();
    }));

  it("is let go of with the last tensor that lies in it", () =>
    withCopy(async (folder, weights) => {
      const open = () =>
        readdirSync("/proc/self/fd").filter((fd) => targetOf(`/proc/self/fd/${fd}`) === weights).length;
      const mapped = async () => (await readFile("/proc/self/maps", "utf8")).includes(weights);
      const model = await load(folder);
      assert.deepEqual([open(), await mapped()], [1, true]);
      model.dispose();
      kernelAddon()!.wait();
      assert.deepEqual([open(), await mapped()], [0, false]);
    }));

  leakFree("that is cut gives no numbers, on any thread and any instruction set", async () => {
    const addon = kernelAddon()!;
    const [rows, cols] = [1200, 700]; // 3.4 MB: every thread has rows of it
    for (const instructions of addon.info().available) {
      addon.select(instructions);
      await inTemporaryFolder(async (folder) => {
        const place = path.join(folder, "weights");
        await writeFile(place, new Uint8Array(new Float32Array(rows * cols).fill(0.5).buffer));
        const file = mappable(place);
        const holder = new MappingHolder(addon, null);
        const w = holder.mapped(file, { name: "w", dtype: "F32", shape: [rows, cols], start: 0, end: 4 * rows * cols });
        file.close();
        holder.close();
        const x = tf.ones([9, cols]);
        const product = () => runKernel("PaligemmaLinear", { x, w }, { activation: 0, coarse: 0, inner: 1 })!;
        const whole = product();
        assert.ok(whole.dataSync().every((value) => value === 350));
        holder.requireIntact();
        await truncate(place, 100_000);
        const none = product();
        assert.ok(none.dataSync().every(Number.isNaN), instructions);
        assert.throws(holder.requireIntact, refused(place, /it was cut while it was in use/));
        tf.dispose([x, w, whole, none]);
        holder.requireIntact(); // nothing reads it any more
      });
    }
    addon.select("");
  });
});
