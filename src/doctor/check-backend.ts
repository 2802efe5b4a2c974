import { readFileSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import { getThreadsCount } from "@tensorflow/tfjs-backend-wasm";

import { type BackendName, useBackend } from "../backends/backend.js";
import { answerParent, type ChildAnswer } from "../backends/native/ask-child.js";
import { hasStockKernels, kernelAddon } from "../backends/native/kernels.js";
import { nativePackage } from "../backends/native/layout.js";
import { findNative, loadNative } from "../backends/native/load.js";
import type { NativeInfo } from "../backends/native/native-info.js";
import { PaliGemma } from "../paligemma.js";
import type { Reference } from "../parity/reference.js";
import { compareHooks, EXACT, greedyIds, TOLERANCE } from "../parity/run.js";
import { encodePng } from "../pictures/png.js";
import { demoReference, pictureOf } from "./reference.js";

/** Which backend is checked; `gpu` asks for tfjs-node-gpu. */
export type CheckRequest = { backend: BackendName; gpu?: boolean };

/** How far a backend is from transformers on the demo's reference. */
export type Parity = {
  hooks: number;
  /** The hook with the largest scaled error, that error, and its limit. */
  worst: string;
  scaled: number;
  limit: number;
  /** Whether the decoded tokens are the reference's. */
  tokensEqual: boolean;
};

/** What the demo takes as it is used, in milliseconds: from the question to the first token, and each further one. */
export type DemoTimes = { text: string; firstToken: number; furtherToken: number; dtype: string };

/** What one backend is and does. */
export type CheckedBackend = {
  /** What multiplies: an instruction set, TensorFlow's own operations, wasm with or without SIMD. */
  kernels: string;
  threads: number;
  native: NativeInfo | null;
  /** CUDA's libraries that are loaded. */
  cuda: string[];
  parity: Parity;
  demo: DemoTimes;
};

/** What the check of one backend gives. */
export type CheckResult = ChildAnswer<{ checked: CheckedBackend }>;

/** Loads a backend into this process, compares it and times it: for a process of its own, see `diagnose`. */
export async function checkHere({ backend, gpu = false }: CheckRequest): Promise<CheckResult> {
  try {
    const candidates = findNative().filter(({ packageName }) => !gpu || packageName === nativePackage(true));
    const native = backend === "tensorflow" ? await loadNative(candidates) : null;
    await useBackend(backend);
    const reference = await demoReference();
    const parity = await parityOf(backend, reference);
    const demo = await timesOf(backend, reference);
    const [kernels, threads] = [await kernelsOf(backend, native), threadsOf(backend)];
    return { ok: true, checked: { kernels, threads, native, cuda: cudaLibraries(), parity, demo } };
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function parityOf(backend: BackendName, reference: Reference): Promise<Parity> {
  const model = await PaliGemma.load(undefined, { backend, dtype: "float32", settings: EXACT });
  try {
    const { hooks, missing } = compareHooks(model.network, reference);
    const worst = hooks.reduce((a, b) => (b.scaled > a.scaled ? b : a));
    if (missing.length > 0) throw new Error(`the hooks ${missing.join(", ")} of the reference did not fire`);
    const tokens = await greedyIds(model.network, reference);
    const tokensEqual = JSON.stringify(tokens) === JSON.stringify(reference.greedy);
    return { hooks: hooks.length, worst: worst.name, scaled: worst.scaled, limit: TOLERANCE, tokensEqual };
  } finally {
    model.dispose();
  }
}

/** Beyond this the first run is the one that is timed: warming up matters little. */
const SLOW_MILLISECONDS = 500;

/** As the demo is used: with weights and products of the default, and the picture as a file. */
async function timesOf(backend: BackendName, reference: Reference): Promise<DemoTimes> {
  const model = await PaliGemma.load(undefined, { backend });
  const question = { image: await encodePng(pictureOf(reference)), prompt: reference.prompts[0]! };
  try {
    const first = await timed(model, question);
    return first.firstToken > SLOW_MILLISECONDS ? first : await timed(model, question);
  } finally {
    model.dispose();
  }
}

async function timed(model: PaliGemma, question: { image: Uint8Array; prompt: string }): Promise<DemoTimes> {
  const start = performance.now();
  const at: number[] = [];
  let text = "";
  for await (const piece of model.stream(question)) {
    at.push(performance.now() - start);
    text += piece.text;
  }
  const [first, last] = [at[0]!, at.at(-1)!];
  return { text, firstToken: first, furtherToken: (last - first) / Math.max(1, at.length - 1), dtype: model.dtype };
}

async function kernelsOf(backend: BackendName, native: NativeInfo | null): Promise<string> {
  if (backend === "cpu") return "plain JavaScript";
  if (backend === "wasm") return (await tf.env().getAsync("WASM_HAS_SIMD_SUPPORT")) ? "SIMD" : "no SIMD";
  const own = kernelAddon()?.info();
  if (own) return `${own.instructions} (of ${own.available.join(", ")})`;
  const device = native?.gpu ? "the GPU" : "the CPU";
  return `TensorFlow's own on ${device}${hasStockKernels() ? "" : ", float32 only"}`;
}

function threadsOf(backend: BackendName): number {
  if (backend === "tensorflow") return kernelAddon()?.info().threads ?? 0;
  return backend === "wasm" ? getThreadsCount() : 1;
}

/** The libraries of CUDA that this process has loaded; none where the system does not tell. */
function cudaLibraries(): string[] {
  try {
    const maps = readFileSync("/proc/self/maps", "latin1").split("\n");
    const names = maps
      .map((line) => path.basename(line))
      .filter((name) => /^lib(cuda|cublas|cudnn|cufft|cusolver|cusparse|nccl|nv)/.test(name));
    return [...new Set(names)].sort();
  } catch {
    return [];
  }
}

await answerParent(import.meta.url, checkHere);
