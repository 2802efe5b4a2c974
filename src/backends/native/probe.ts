import * as tf from "@tensorflow/tfjs";

import { answerParent, askChild, type ChildAnswer } from "./ask-child.js";
import { findNative, loadNative, type NativeCandidate } from "./load.js";
import type { NativeInfo } from "./native-info.js";
import { nativePackage } from "./layout.js";
import { nodeBackend, RawOps, TYPE } from "./raw-ops.js";
import type { Run } from "./process.js";

/** What the probe found. */
export type ProbeResult = ChildAnswer<NativeInfo>;

/**
 * Tries the native backend in a child process and never throws: a broken addon can end the process that loads it, and
 * one that is loaded cannot be unloaded. Tries what `findNative` finds, or the package in `folder` alone.
 */
export async function probe(options: { gpu?: boolean; folder?: string; run?: Run } = {}): Promise<ProbeResult> {
  const { gpu, folder, run } = options;
  // Were the child to crash, TensorFlow's words on stderr are all there is to report.
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: "0" };
  return askChild<NativeInfo>(import.meta.url, { gpu, folder }, { run, env, timeoutMs: 120_000 });
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

await answerParent(import.meta.url, probeHere);
