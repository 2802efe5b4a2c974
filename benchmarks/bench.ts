import { writeFile } from "node:fs/promises";
import { cpus } from "node:os";

import * as tf from "@tensorflow/tfjs";
import { Command } from "commander";

import { type BackendName, useBackend } from "../src/backend.js";
import { loadNative } from "../src/native/load.js";
import { tokenTimes } from "./decode.js";
import { forwardTimes } from "./hooks-off.js";
import { loadTimes } from "./load.js";
import { summarise } from "./measure.js";
import { demoSubject } from "./subject.js";

const { quick, out } = new Command("bench")
  .description("time the demo checkpoint on every backend that is present")
  .option("--quick", "fewer repetitions")
  .option("--out <file>", "Markdown file to write the table to")
  .parse()
  .opts<{ quick?: boolean; out?: string }>();

const NEW_TOKENS = 16;
const HEADER = ["backend", "load, ms", "first token, ms", "each further token, ms", "all hooks on / off", "runs"];

async function row(backend: BackendName): Promise<string[]> {
  await useBackend(backend);
  const repetitions = quick ? 5 : 25;
  const load = summarise(await loadTimes(backend, quick ? 3 : 9));
  const subject = await demoSubject(backend);
  const { off, on } = await forwardTimes(subject, repetitions);
  const token = summarise(await tokenTimes(subject, NEW_TOKENS, repetitions));
  subject.dispose();
  const first = summarise(off);
  const ratio = summarise(on.map((time, i) => time / off[i]));
  const shown = ({ median, mad }: { median: number; mad: number }, digits: number) =>
    `${median.toFixed(digits)} ± ${mad.toFixed(digits)}`;
  return [backend, shown(load, 0), shown(first, 1), shown(token, 1), shown(ratio, 3), String(repetitions)];
}

const native = await loadNative();
const present: BackendName[] = native === null ? ["wasm", "cpu"] : ["tensorflow", "wasm", "cpu"];
if (native === null) console.log("tensorflow is not installed (npm run setup:native) and is left out");
const rows: string[][] = [];
for (const backend of present) rows.push(await row(backend));

const machine = [
  `${cpus()[0].model}, ${cpus().length} cores`,
  `Node ${process.version}`,
  `TensorFlow.js ${tf.version.tfjs}`,
  `TensorFlow ${native?.tensorflowVersion ?? "absent"}`,
];
const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
const table = [line(HEADER), line(HEADER.map(() => "---")), ...rows.map(line)].join("\n");
const text = `${machine.join("; ")}. Demo checkpoint, float32; medians ± median absolute deviations.\n\n${table}\n`;
console.log(text);
if (out) await writeFile(out, text);
