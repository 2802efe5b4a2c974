import { strict as assert } from "node:assert";
import { writeFile } from "node:fs/promises";
import path from "node:path";

import { useBackend } from "../../../../src/backends/backend.js";
import { BackendError } from "../../../../src/base/errors.js";
import { checkVariables, kernelChoice } from "../../../../src/backends/native/variables.js";
import { inTemporaryFolder } from "../../../support/temporary.js";

const refused = (message: RegExp) => (error: unknown) => error instanceof BackendError && message.test(error.message);

describe("variables of the environment", () => {
  it("PALIGEMMA_KERNELS is own, stock or gpu, and own where it is empty", () => {
    assert.equal(kernelChoice({}), "own");
    assert.equal(kernelChoice({ PALIGEMMA_KERNELS: "" }), "own");
    for (const choice of ["own", "stock", "gpu"]) assert.equal(kernelChoice({ PALIGEMMA_KERNELS: choice }), choice);
    for (const value of ["Stock", "avx2", "1", " "]) {
      const expected = `PALIGEMMA_KERNELS: expected own, stock or gpu, received "${value}"`;
      assert.throws(() => checkVariables({ PALIGEMMA_KERNELS: value }), refused(new RegExp(expected)));
    }
  });

  it("PALIGEMMA_NUM_THREADS is a whole number from 1 to 256, or empty", () => {
    for (const value of ["1", "256", "08", ""]) checkVariables({ PALIGEMMA_NUM_THREADS: value });
    for (const value of ["abc", "0", "-1", "1.5", "257", "1e2", "0x10", "4 threads"]) {
      const expected = `PALIGEMMA_NUM_THREADS: expected a whole number from 1 to 256, received "${value}"`;
      assert.throws(() => checkVariables({ PALIGEMMA_NUM_THREADS: value }), refused(new RegExp(expected)));
    }
  });

  it("PALIGEMMA_NATIVE_DIR is a folder or absent, and no file", () =>
    inTemporaryFolder(async (folder) => {
      const file = path.join(folder, "file");
      await writeFile(file, "");
      for (const value of ["", folder, path.join(folder, "absent")]) checkVariables({ PALIGEMMA_NATIVE_DIR: value });
      assert.throws(
        () => checkVariables({ PALIGEMMA_NATIVE_DIR: file }),
        refused(/PALIGEMMA_NATIVE_DIR: expected a folder/),
      );
    }));

  it("are looked at whatever backend is chosen", async () => {
    const before = process.env.PALIGEMMA_KERNELS;
    process.env.PALIGEMMA_KERNELS = "stok";
    try {
      for (const backend of ["auto", "cpu", "wasm"] as const) {
        await assert.rejects(useBackend(backend), refused(/received "stok"/));
      }
    } finally {
      if (before === undefined) delete process.env.PALIGEMMA_KERNELS;
      else process.env.PALIGEMMA_KERNELS = before;
    }
  });
});
