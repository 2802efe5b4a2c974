import * as tf from "@tensorflow/tfjs";
import { describe, it } from "mocha";

import { type BackendName, useBackend } from "../../src/backend.js";
import { loadNative } from "../../src/native/load.js";

/** The backends that the environment asks for: `PALIGEMMA_BACKENDS=cpu,wasm`, or all. */
const wanted = (process.env.PALIGEMMA_BACKENDS ?? "cpu,wasm,tensorflow").split(",") as BackendName[];

/** With `PALIGEMMA_REQUIRE_TENSORFLOW=1` an absent native backend is a failure, otherwise a printed skip. */
const required = process.env.PALIGEMMA_REQUIRE_TENSORFLOW === "1";

/** Ends the title of a test that `npm run test:long` runs and `npm test` does not: package.json's scripts choose by it. */
export const LONG = " @long";

/** The title of tests that take too long on cpu for `npm test`: a pass of the demo checkpoint takes seconds there. */
export const longOnCpu =
  (title: string) =>
  (backend: BackendName): string =>
    `${title} [${backend}]${backend === "cpu" ? LONG : ""}`;

/** Declares the same tests once per backend, and makes each the current one while its tests run. */
export function onEachBackend(
  title: string | ((backend: BackendName) => string),
  declare: (backend: BackendName) => void,
): void {
  for (const backend of wanted) {
    const full = typeof title === "string" ? `${title} [${backend}]` : title(backend);
    describe(full, () => {
      before(async function () {
        if (backend === "tensorflow" && !required && (await loadNative()) === null) {
          console.log(`    (skipped: ${full}, which is not installed: npm run setup:native)`);
          this.skip();
        }
        await useBackend(backend);
      });
      declare(backend);
    });
  }
}

/** Makes tensorflow the current backend with the project's kernels; where they are not built, skips or, required, fails. */
export async function useKernels(context: Mocha.Context): Promise<void> {
  if (!(await loadNative())?.kernels) {
    if (required) throw new Error("the kernels are not built: npm run setup:native");
    console.log("    (skipped: kernels, which are not built: npm run setup:native)");
    context.skip();
  }
  await useBackend("tensorflow");
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
