import * as tf from "@tensorflow/tfjs";
import { before, it } from "mocha";

import { type BackendName, useBackend } from "../../src/backends/backend.js";
import { openNative } from "../../src/backends/native/load.js";
import { describeWhere } from "./describe-where.js";

/** The backends that the environment asks for: `PALIGEMMA_BACKENDS=cpu,wasm`, or all. */
const wanted = (process.env.PALIGEMMA_BACKENDS ?? "cpu,wasm,tensorflow").split(",") as BackendName[];

/** The native backend, null where it is absent or not asked for. Known before any suite is declared. */
const native = wanted.includes("tensorflow") ? openNative() : null;

const SETUP = "npm run setup:native";

/**
 * Ends the title of a test that `npm run test:long` runs and `npm test` does not: package.json's scripts choose by it.
 */
export const LONG = " @long";

/** The title of tests that take too long on cpu for `npm test`: a pass of the demo checkpoint takes seconds there. */
export const longOnCpu =
  (title: string) =>
  (backend: BackendName): string =>
    `${title} [${backend}]${backend === "cpu" ? LONG : ""}`;

/**
 * Declares the same tests once per backend, and makes each the current one while its tests run; an absent backend's are
 * pending.
 */
export function onEachBackend(
  title: string | ((backend: BackendName) => string),
  declare: (backend: BackendName) => void,
): void {
  for (const backend of wanted) {
    const full = typeof title === "string" ? `${title} [${backend}]` : title(backend);
    const absent =
      backend === "tensorflow" && native === null ? `the tensorflow backend is not installed: ${SETUP}` : null;
    describeWhere({ absent, what: "TENSORFLOW" }, full, () => {
      before(() => useBackend(backend));
      declare(backend);
    });
  }
}

/**
 * Declares tests of the project's kernels, with tensorflow as the current backend; where they are not built they are
 * pending.
 */
export function withKernels(title: string, declare: () => void): void {
  const absent = native?.kernels ? null : `the kernels are not built: ${SETUP}`;
  describeWhere({ absent, what: "TENSORFLOW" }, title, () => {
    before(() => useBackend("tensorflow"));
    declare();
  });
}

/** A test that fails unless, after `body`, as many tensors live as before; native handles are counted as well. */
export function leakFree(title: string, body: () => void | Promise<void>): void {
  it(title, async () => {
    const before = counts();
    await body();
    const after = counts();
    if (after.tensors !== before.tensors || after.handles !== before.handles) {
      throw new Error(`leak: ${JSON.stringify(before)} before, ${JSON.stringify(after)} after`);
    }
  });
}

/** Tensors that the engine knows, and handles that the native backend holds. */
export function counts(): { tensors: number; handles: number } {
  const backend = tf.backend() as { getNumOfTFTensors?: () => number };
  return { tensors: tf.memory().numTensors, handles: backend.getNumOfTFTensors?.() ?? 0 };
}
