import { cpus } from "node:os";
import path from "node:path";
import { writeFile } from "node:fs/promises";

import * as tf from "@tensorflow/tfjs";
import { Command } from "commander";

import { noTap, type Tap } from "../layers/tap.js";
import { type BackendName, useBackend } from "../src/backend.js";
import { packageRoot } from "../src/package-root.js";
import { decode } from "../src/generate.js";
import { loadNative } from "../src/native/load.js";
import { PaliGemma } from "../src/paligemma.js";
import { alternating, summarise } from "./measure.js";

const { quick, out } = new Command("bench")
  .description("time the demo checkpoint on every backend that is present")
  .option("--quick", "fewer repetitions")
  .option("--out <file>", "Markdown file to write")
  .parse()
  .opts<{ quick?: boolean; out?: string }>();

const picture = { data: Uint8Array.from({ length: 90 * 70 * 3 }, (_, i) => (i * 37) % 256), width: 90, height: 70 };
const question = { image: picture, prompt: "describe en" };
const NEW_TOKENS = 16;

/** Times load, first token, decoding, and what an unused hook costs, on one backend. */
async function rows(backend: BackendName): Promise<string[][]> {
  const repetitions = quick ? 5 : 25;
  const loads = await alternating(quick ? 3 : 9, {
    load: async () => (await PaliGemma.load(undefined, { backend })).dispose(),
  });
  const model = await PaliGemma.load(undefined, { backend });
  const processed = await model.process(question);
  const inputs = { ...processed, pixelValues: tf.tensor(processed.pixelValues, processed.pixelShape) };
  const forward = async (tap: Tap) => {
    const logits = model.network.forward(inputs, { tap, rows: "last" });
    await logits.data();
    logits.dispose();
  };
  const hooks = await alternating(repetitions, {
    off: () => forward(noTap),
    identity: () => forward((_name, value) => value),
  });
  const decoding = await alternating(repetitions, {
    generate: async () => {
      // An id that never comes: every run decodes the same number of tokens.
      const endless = Object.assign(Object.create(model.network), { config: { ...model.config, eosTokenIds: [] } });
      for await (const step of decode(endless, inputs, { maxNewTokens: NEW_TOKENS })) void step;
    },
  });
  inputs.pixelValues.dispose();
  model.dispose();
  const first = summarise(hooks.off);
  const all = summarise(decoding.generate);
  const perToken = (all.median - first.median) / (NEW_TOKENS - 1);
  const ratio = summarise(hooks.identity.map((time, i) => time / hooks.off[i]));
  const ms = ({ median, mad }: { median: number; mad: number }) => `${median.toFixed(1)} ± ${mad.toFixed(1)}`;
  return [
    [backend, ms(summarise(loads.load)), ms(first), perToken.toFixed(1), ratio.median.toFixed(3), String(repetitions)],
  ];
}

const native = await loadNative();
const table: string[][] = [];
for (const backend of ["tensorflow", "wasm", "cpu"] as const) {
  if (backend === "tensorflow" && native === null) {
    console.log("tensorflow is not installed (npm run setup:native) and is left out");
    continue;
  }
  await useBackend(backend);
  table.push(...(await rows(backend)));
}
const header = ["backend", "load, ms", "first token, ms", "per further token, ms", "listened-to / hooks off", "runs"];
const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
const markdown = [line(header), line(header.map(() => "---")), ...table.map(line)].join("\n");
const machine = `${cpus()[0].model}, ${cpus().length} cores; Node ${process.version}; TensorFlow.js ${tf.version.tfjs}; TensorFlow ${native?.tensorflowVersion ?? "absent"}`;
const text = `Machine: ${machine}. Demo checkpoint, float32, medians ± median absolute deviation.\n\n${markdown}\n`;
console.log(text);
if (out) await writeFile(path.resolve(packageRoot(), out), text);
