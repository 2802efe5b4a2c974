import { readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";

import "../../weights/node-memory.js";
import { availableBytes } from "../../weights/available-memory.js";
import { memoryBandwidth } from "./bandwidth.js";

/**
 * The processor. `features` are those that kernels are chosen by, in Linux's words; null where the system does not list
 * them.
 */
export type Processor = { model: string; count: number; usable: number; features: string[] | null };

/** Bytes, and how fast all processors together read them, in GB/s. */
export type Memory = { totalBytes: number; availableBytes: number; bandwidth: number };

/**
 * What the project's kernels, TensorFlow and wasm are compiled for. Source: native/dispatch.cc; Linux,
 * arch/arm64/kernel/cpuinfo.c.
 */
const FEATURES = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "i8mm", "sve"];

/** Long enough for a figure that repeats within a few percent. */
const MEASURED_MILLISECONDS = 400;

/** The processor of this machine; `usable` is how many of them this process may use. */
export function processor(): Processor {
  const all = cpus();
  return {
    model: all[0]?.model.trim() || process.arch,
    count: all.length,
    usable: availableParallelism(),
    features: features(),
  };
}

function features(): string[] | null {
  try {
    const [, words] = /^(?:flags|Features)\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "latin1"))!;
    const there = new Set(words!.trim().split(/\s+/));
    return FEATURES.filter((feature) => there.has(feature));
  } catch {
    return null;
  }
}

/** The memory of this machine, its bandwidth measured: about a second. */
export async function memory(bandwidth = memoryBandwidth): Promise<Memory> {
  const room = { totalBytes: totalmem(), availableBytes: availableBytes() };
  return { ...room, bandwidth: await bandwidth(MEASURED_MILLISECONDS) };
}
