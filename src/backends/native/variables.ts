import { statSync } from "node:fs";

import { BackendError } from "../../base/errors.js";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Which kernels the backend "tensorflow" multiplies with: the project's own, TensorFlow's, or TensorFlow's as on a GPU.
 */
export type KernelChoice = "own" | "stock" | "gpu";

/** The most threads that the kernels use. Source: native/stream.cc, `threadCount`. */
const MOST_THREADS = 256;

/** `PALIGEMMA_KERNELS`: "stock", "gpu", or "own" where it is not set. Throws `BackendError` for any other value. */
export function kernelChoice(env: Environment = process.env): KernelChoice {
  const value = env.PALIGEMMA_KERNELS || "own";
  if (value === "own" || value === "stock" || value === "gpu") return value;
  throw wrong("PALIGEMMA_KERNELS", "own, stock or gpu", value);
}

/**
 * Throws `BackendError` naming a variable `PALIGEMMA_*` whose value means nothing; one that is empty counts as not set.
 */
export function checkVariables(env: Environment = process.env): void {
  kernelChoice(env);
  const { PALIGEMMA_NUM_THREADS: threads, PALIGEMMA_NATIVE_DIR: folder } = env;
  const fits = /^\d+$/.test(threads ?? "") && Number(threads) >= 1 && Number(threads) <= MOST_THREADS;
  if (threads && !fits) {
    throw wrong("PALIGEMMA_NUM_THREADS", `a whole number from 1 to ${MOST_THREADS}`, threads);
  }
  if (folder && statSync(folder, { throwIfNoEntry: false })?.isDirectory() === false) {
    throw wrong("PALIGEMMA_NATIVE_DIR", "a folder, or the path of one to be made", folder);
  }
}

const wrong = (name: string, expected: string, value: string): BackendError =>
  new BackendError(
    `${name}: expected ${expected}, received ${JSON.stringify(value)}; correct the variable or unset it`,
  );
