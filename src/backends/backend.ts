import * as tf from "@tensorflow/tfjs";
import "@tensorflow/tfjs-backend-wasm";

import { BackendError } from "../base/errors.js";
import { completeKernels } from "./native/kernels.js";
import { loadNative, SETUP_HINT } from "./native/load.js";
import { withoutNewListeners } from "./wasm/listeners.js";
import { checkVariables } from "./native/variables.js";

/** Where the mathematics runs: CUDA or CPU through libtensorflow, WebAssembly, or plain JavaScript. */
export type BackendName = "tensorflow" | "wasm" | "cpu";

/** A backend, or "auto": tensorflow when it is installed, else wasm, else cpu. */
export type BackendChoice = BackendName | "auto";

/** Every choice, for messages and argument parsing. */
export const BACKENDS: readonly BackendChoice[] = ["auto", "tensorflow", "wasm", "cpu"];

/**
 * Makes `choice` TensorFlow.js's current backend and returns which one that is. Throws `BackendError` for an unknown
 * name, for a variable `PALIGEMMA_*` of a wrong value, and for a backend that is absent or does not start here.
 */
export async function useBackend(choice: BackendChoice = "auto"): Promise<BackendName> {
  if (!BACKENDS.includes(choice)) {
    throw new BackendError(`backend: expected one of ${BACKENDS.join(", ")}, received "${String(choice)}"`);
  }
  checkVariables();
  if (choice !== "auto") return start(choice);
  // Absent is passed over; a native part that is there and broken is not: loadNative then throws.
  if ((await loadNative()) !== null) return start("tensorflow");
  if (await setBackend("wasm")) return start("wasm");
  return start("cpu");
}

const setBackend = (name: BackendName): Promise<boolean> =>
  name === "wasm" ? withoutNewListeners(() => tf.setBackend(name)) : tf.setBackend(name);

async function start(name: BackendName): Promise<BackendName> {
  if (name === "tensorflow" && (await loadNative()) === null) {
    throw new BackendError(`backend: "tensorflow" is not installed. ${SETUP_HINT}, or choose wasm.`);
  }
  if (!(await setBackend(name))) {
    throw new BackendError(`backend: "${name}" does not start here; choose one of ${BACKENDS.join(", ")}`);
  }
  await tf.ready();
  if (name === "tensorflow") completeKernels();
  // The plain backend greets every Node program with an advertisement for tfjs-node; stderr is for our own messages.
  if (name === "cpu") (tf.backend() as unknown as { firstUse: boolean }).firstUse = false;
  return name;
}
