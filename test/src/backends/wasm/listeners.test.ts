import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { packageRoot } from "../../../../src/base/package-root.js";

describe("a process that loads a model on wasm", () => {
  it("goes on at a rejection that it only logs", async () => {
    const program = `
      import { PaliGemma } from "./src/index.js";
      process.on("unhandledRejection", (error) => console.log("logged " + error.message));
      (await PaliGemma.load(undefined, { backend: "wasm" })).dispose();
      void Promise.reject(new Error("boo"));
      setImmediate(() => console.log("went on"));
    `;
    const args = ["--import", "tsx", "--input-type=module", "-e", program];
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: packageRoot() });
    assert.equal(stdout, "logged boo\nwent on\n");
  });
});
