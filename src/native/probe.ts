import { pathToFileURL } from "node:url";

import * as tf from "@tensorflow/tfjs";

import { findNative, loadNative, type NativeCandidate, type NativeInfo } from "./load.js";
import { nativePackage } from "./layout.js";
import { nodeBackend, RawOps, TYPE } from "./raw-ops.js";
import { run, tail, type Run } from "./process.js";

/** What the probe found. */
export type ProbeResult = ({ ok: true } & NativeInfo) | { ok: false; reason: string };

/**
 * Tries the native backend in a child process and never throws: a broken addon can end the process that loads it, and one
 * that is loaded cannot be unloaded. Tries what `findNative` finds, or the package in `folder` alone.
 */
export async function probe(options: { gpu?: boolean; folder?: string; run?: Run } = {}): Promise<ProbeResult> {
  const file = import.meta.filename ?? new URL(import.meta.url).pathname;
  // In a checkout this file is TypeScript, and the child needs the same loader as this process.
  const loader = file.endsWith(".ts") ? ["--import", import.meta.resolve("tsx")] : [];
  const request = JSON.stringify({ gpu: options.gpu, folder: options.folder });
  const result = await (options.run ?? run)(process.execPath, [...loader, file, request], {
    // Were the child to crash, TensorFlow's words on stderr are all there is to report.
    env: { ...process.env, TF_CPP_MIN_LOG_LEVEL: "0" },
    timeoutMs: 120_000,
  });
  const answer = result.stdout.split("\n").find((line) => line.startsWith('{"ok":'));
  if (answer) return JSON.parse(answer) as ProbeResult;
  return { ok: false, reason: result.timedOut ? "the probe did not end within 120 s" : tail(result) };
}

/** The checks, in this process. `gpu` asks for the GPU package; without it either will do. */
export async function probeHere(options: { gpu?: boolean; folder?: string }): Promise<ProbeResult> {
  try {
    const packageName = nativePackage(options.gpu ?? false);
    const found: NativeCandidate[] = options.folder ? [{ packageName, folder: options.folder }] : findNative();
    const info = await loadNative(options.gpu ? found.filter((one) => one.packageName === packageName) : found);
    if (!info) return { ok: false, reason: "not installed" };
    if (!(await tf.setBackend("tensorflow"))) return { ok: false, reason: "the backend did not start" };
    checkMatMul();
    checkBf16();
    return { ok: true, ...info };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

/** [[1, 2, 3]] · [[1], [10], [100]] = 321. */
function checkMatMul(): void {
  const got = tf.tidy(() => tf.matMul(tf.tensor2d([[1, 2, 3]]), tf.tensor2d([[1], [10], [100]])).dataSync()[0]);
  if (got !== 321) throw new Error(`tf.matMul gave ${got}, expected 321`);
}

/** 1 + 2^-9 is a tie that bf16 (8 bits of precision) rounds to 1; -2.5 it holds exactly. */
function checkBf16(): void {
  const backend = nodeBackend();
  const got = RawOps.run(backend, (ops) => {
    const x = ops.upload([2], TYPE.float32, Float32Array.of(1 + 2 ** -9, -2.5));
    const half = ops.cast(x, TYPE.float32, TYPE.bfloat16);
    const back = ops.cast(half.id, TYPE.bfloat16, TYPE.float32);
    return Array.from(backend.binding.tensorDataSync(back.id) as Float32Array);
  });
  if (got[0] !== 1 || got[1] !== -2.5)
    throw new Error(`a Cast to bf16 and back gave ${got.join(", ")}, expected 1, -2.5`);
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const request = JSON.parse(process.argv[2] ?? "{}") as { gpu?: boolean; folder?: string };
  console.log(JSON.stringify(await probeHere(request)));
}
