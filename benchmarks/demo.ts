import { type BackendName, useBackend } from "../src/backends/backend.js";
import { loadNative } from "../src/backends/native/load.js";
import { tokenTimes } from "./decode.js";
import { forwardTimes, unusedPlacesTime } from "./hooks-off.js";
import { loadTimes } from "./load.js";
import { machineWords } from "./machine.js";
import { summarise } from "./measure.js";
import { demoSubject } from "./demo-case.js";

const NEW_TOKENS = 16;
const HEADER = [
  "backend",
  "load, ms",
  "first token, ms",
  "each further token, ms",
  "hooks off, % of it",
  "all hooks on / off",
  "runs",
];

/** Times the demo checkpoint on every backend that is present; gives the table with its heading. */
export async function measureDemo(quick: boolean, log: (line: string) => void): Promise<string> {
  const native = await loadNative();
  if (native === null) log("left out: tensorflow, which is not installed (npm run setup:native)");
  const present: BackendName[] = native === null ? ["wasm", "cpu"] : ["tensorflow", "wasm", "cpu"];
  const rows: string[][] = [];
  for (const backend of present) rows.push(await row(backend, quick));
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  const table = [line(HEADER), line(HEADER.map(() => "---")), ...rows.map(line)].join("\n");
  const machine = (await machineWords()).join("; ");
  return `${machine}. Demo checkpoint, float32; medians ± median absolute deviations.\n\n${table}\n`;
}

async function row(backend: BackendName, quick: boolean): Promise<string[]> {
  await useBackend(backend);
  const repetitions = quick ? 5 : 25;
  const load = summarise(await loadTimes(backend, quick ? 3 : 9));
  const subject = await demoSubject(backend);
  const { off, on } = await forwardTimes(subject, repetitions);
  const token = summarise(await tokenTimes(subject, NEW_TOKENS, repetitions));
  const places = summarise(unusedPlacesTime(subject, repetitions));
  subject.dispose();
  const first = summarise(off);
  const ratio = summarise(on.map((time, i) => time / off[i]));
  const shown = ({ median, mad }: { median: number; mad: number }, digits: number) =>
    `${median.toFixed(digits)} ± ${mad.toFixed(digits)}`;
  const share = ((100 * places.median) / first.median).toFixed(3);
  return [backend, shown(load, 0), shown(first, 1), shown(token, 1), share, shown(ratio, 3), String(repetitions)];
}
