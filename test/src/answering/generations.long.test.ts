import assert from "node:assert/strict";

import { kernelAddon } from "../../../src/backends/native/kernels.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { counts, withKernels } from "../../support/backends.js";

/** Megabytes of this process's own, collected first where the process may (`--expose-gc`). */
function ownMegabytes(): number {
  globalThis.gc?.();
  return process.memoryUsage().rss / 1e6;
}

withKernels("a thousand answers", () => {
  it("leave as many handles, and no more memory than two hundred", async () => {
    const model = await PaliGemma.load(undefined, { backend: "tensorflow" });
    const data = Uint8Array.from({ length: 40 * 30 * 3 }, (_, i) => (i * 31) % 256);
    const answer = async (times: number) => {
      for (let i = 0; i < times; i++) {
        // Prompts of several lengths, so that shapes differ from one to the next.
        const prompt = `describe en${" a".repeat(i % 5)}`;
        await model.generate({ image: { data, width: 40, height: 30 }, prompt }, { maxNewTokens: 4 + (i % 4) });
      }
      kernelAddon()!.wait();
    };
    await answer(200);
    const [before, megabytes] = [{ ...counts(), ...kernelAddon()!.info() }, ownMegabytes()];
    await answer(800);
    assert.deepEqual({ ...counts(), ...kernelAddon()!.info() }, before);
    const growth = ownMegabytes() - megabytes;
    console.log(
      `      (resident memory after 200 answers: ${megabytes.toFixed(0)} MB, after 1000: ${growth.toFixed(1)} MB more)`,
    );
    assert.ok(growth < 40, `${growth} MB more`);
    model.dispose();
  });
});
