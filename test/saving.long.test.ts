import { strict as assert } from "node:assert";
import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import * as tf from "@tensorflow/tfjs";

import { convertCheckpoint } from "../src/checkpoints/saving/convert.js";
import { savePretrained } from "../src/checkpoints/saving/save-pretrained.js";
import type { SaveOptions } from "../src/checkpoints/saving/save-model.js";
import { PaliGemma } from "../src/paligemma.js";
import { fixtures, modelInputs, readReference, readTensors } from "./parity/reference.js";
import { describeWhere } from "./support/describe-where.js";
import { tinyFolder } from "./support/tiny.js";

const script = path.join(path.dirname(fileURLToPath(import.meta.url)), "support", "hub_logits.py");
const python = process.env.PALIGEMMA_PYTHON ?? "python3";
const run = (...args: string[]) => promisify(execFile)(python, args, { maxBuffer: 2 ** 26 });
const references = path.join(fixtures, "references");

/**
 * A folder that is written, the reference whose inputs it is asked with, the type that it says it has, and how it is
 * written.
 */
type Case = {
  name: string;
  model: "tiny-pg1" | "tiny-pg2" | "tiny-pg2-head";
  dtype: string;
  write: (folder: string) => Promise<unknown>;
};

/** The reference whose inputs a model is asked with. */
const caseOf = (model: Case["model"]): string => (model === "tiny-pg2-head" ? "prompt" : "suffix");

const saved = (model: Case["model"], options: SaveOptions & { dtype: string }): Case => ({
  name: `savePretrained of ${model}, ${JSON.stringify(options)}`,
  model,
  dtype: options.dtype,
  write: async (folder) => {
    const loaded = await PaliGemma.load(tinyFolder(model), { backend: "cpu" });
    await savePretrained(loaded, folder, options);
    loaded.dispose();
  },
});
const converted = (model: Case["model"], input: string, dtype: string, options: SaveOptions = {}): Case => ({
  name: `convert of ${path.relative(fixtures, input)}, ${JSON.stringify(options)}`,
  model,
  dtype,
  write: (folder) =>
    convertCheckpoint(input, folder, { ...options, onProgress: undefined, tokenizer: tinyFolder(model) }),
});

const CASES: Case[] = [
  saved("tiny-pg1", { dtype: "float32" }),
  saved("tiny-pg2", { dtype: "float32", maxShardSize: "100KB" }),
  saved("tiny-pg2", { dtype: "bfloat16", layout: "model", maxShardSize: "50KB" }),
  saved("tiny-pg1", { dtype: "float16", layout: "in-memory" }),
  converted("tiny-pg2", path.join(fixtures, "npz", "tiny-pg2", "bf16.npz"), "bfloat16"),
  converted("tiny-pg2", path.join(fixtures, "npz", "tiny-pg2", "deflated.npz"), "float32", { layout: "vision-tower" }),
  converted("tiny-pg1", path.join(fixtures, "npz", "tiny-pg1", "f32.npz"), "float16", { dtype: "float16" }),
  converted("tiny-pg2", path.join(fixtures, "keras", "tiny-pg2"), "float32"),
  {
    ...converted("tiny-pg1", path.join(fixtures, "keras", "tiny-pg1-task"), "bfloat16"),
    // The preset's own tokenizer, of which transformers sees the vocabulary alone.
    write: (folder) => convertCheckpoint(path.join(fixtures, "keras", "tiny-pg1-task"), folder),
  },
  converted("tiny-pg2", tinyFolder("tiny-pg2-robotics"), "float32"),
  saved("tiny-pg2-head", { dtype: "float32", layout: "vision-tower" }),
  converted("tiny-pg2-head", tinyFolder("tiny-pg2-head"), "bfloat16", { dtype: "bfloat16", layout: "model" }),
  converted("tiny-pg2", tinyFolder("tiny-pg2-sharded"), "bfloat16", { dtype: "bfloat16" }),
];

const found = spawnSync(python, ["-c", "import torch, transformers, sentencepiece, PIL"]).status === 0;
const absent = found ? null : "Python with torch and transformers, named by PALIGEMMA_PYTHON";

describeWhere({ absent, what: "TRANSFORMERS" }, "transformers loads what is saved", () => {
  let root: string;
  const answers = new Map<string, { dtype: string; parameters: number; ids: number[] }>();
  const place = (name: string, kind: string): string =>
    path.join(root, `${CASES.findIndex((one) => one.name === name)}${kind}`);

  before(async () => {
    root = await mkdtemp(path.join(tmpdir(), "paligemma-saved-"));
    await tf.setBackend("cpu");
    for (const { name, write } of CASES) await write(place(name, ""));
    const jobs = CASES.map(({ name, model }) => ({
      folder: place(name, ""),
      inputs: path.join(references, model, caseOf(model), "inputs.safetensors"),
      out: place(name, ".safetensors"),
    }));
    await writeFile(path.join(root, "jobs.json"), JSON.stringify(jobs));
    const { stdout } = await run(script, path.join(root, "jobs.json"));
    const lines = stdout.split("\n").filter((line) => line.startsWith("{"));
    CASES.forEach(({ name }, i) => answers.set(name, JSON.parse(lines[i])));
  });
  after(() => rm(root, { recursive: true }));

  for (const { name, model, dtype } of CASES) {
    it(`${name}: every tensor, the type, the logits within 1e-4 of ours, and the same ids of a prompt`, async () => {
      const inputs = modelInputs(await readReference(path.join(references, model, caseOf(model))));
      const ours = await PaliGemma.load(place(name, ""), { backend: "cpu" });
      const logits = tf.tidy(() => ours.network.forward(inputs).dataSync());
      const theirs = (await readTensors(place(name, ".safetensors"))).get("logits")!.values;
      assert.equal(logits.length, theirs.length);
      const worst = Math.max(...Array.from(logits, (value, i) => Math.abs(value - theirs[i])));
      assert.ok(worst < 1e-4, `off by ${worst}`);
      const answer = answers.get(name)!;
      assert.equal(answer.dtype, dtype);
      const [picture] = (await readReference(path.join(references, model, "prompt"))).pictures[0];
      const image = path.join(references, model, "prompt", picture);
      const { inputIds, ...rest } = await ours.process({ image, prompt: "caption en" });
      assert.deepEqual(answer.ids, inputIds[0]);
      tf.dispose([rest.pixelValues, inputs.pixelValues] as tf.Tensor[]);
      ours.dispose();
    });
  }
});
