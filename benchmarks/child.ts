import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { busySeconds } from "./busy.js";
import type { StoredType } from "./cases.js";
import type { Sample, SampleRequest } from "./sample.js";

/** The two programs that are compared. */
export type Side = "ours" | "transformers";

/**
 * A sample, with the seconds from the start of its process until it could begin to load, and how many processors were
 * busy with something else meanwhile, on average (null where the system does not say).
 */
export type TimedSample = Sample & { startup: number; otherLoad: number | null };

/** The Python that has the reference's packages. */
export const python = (): string => process.env.PALIGEMMA_PYTHON ?? "python3";

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/**
 * Takes one sample in a fresh process. Throws an `Error` with what the process said last when it fails, is killed, as
 * for want of memory, or is not done after `limit` seconds.
 */
export async function sampleOf(
  side: Side,
  request: SampleRequest & { dtype: StoredType },
  limit: number,
): Promise<TimedSample> {
  const argument = JSON.stringify(request);
  const [start, busy] = [Date.now() / 1000, busySeconds()];
  const output =
    side === "ours"
      ? await run(process.execPath, ["--import", import.meta.resolve("tsx"), script("run-ours.ts"), argument], limit)
      : await run(python(), [script("reference.py"), argument], limit);
  const sample = JSON.parse(output.trim().split("\n").at(-1)!) as Sample;
  const others = busy === null ? null : busySeconds()! - busy - sample.processorTime;
  const elapsed = Date.now() / 1000 - start;
  return { ...sample, startup: sample.readyAt - start, otherLoad: others === null ? null : others / elapsed };
}

function run(command: string, args: string[], limit: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      timeout: limit * 1000,
      killSignal: "SIGKILL",
    });
    const start = performance.now();
    let [stdout, stderr] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(-2000)));
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0) return resolve(stdout);
      const late = performance.now() - start >= limit * 1000;
      const killed = late
        ? `not done after ${limit} s`
        : `ended by ${signal}${signal === "SIGKILL" ? " (out of memory?)" : ""}`;
      reject(new Error(signal ? killed : lastError(stderr) || `exit code ${code}`));
    });
  });
}

/** The line of a stack trace that says what went wrong. */
function lastError(stderr: string): string {
  const lines = stderr
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const line = lines.findLast((text) => /^\w*(Error|Exception|Exit)\b/.test(text)) ?? lines.at(-1) ?? "";
  return line.length > 120 ? `${line.slice(0, 120)}…` : line;
}
