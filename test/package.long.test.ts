import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import type { Diagnosis } from "../src/doctor/diagnose.js";
import { packageRoot } from "../src/base/package-root.js";
import { allPages } from "./docs/page.js";
import { heldoutFolder } from "./heldout/heldout.js";

const run = (folder: string, command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

describe("the package", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), "paligemma-package-"));
    run(packageRoot(), "npm", "run", "-s", "build");
    const [{ filename }] = JSON.parse(run(packageRoot(), "npm", "pack", "--json", "--pack-destination", folder));
    writeFileSync(
      path.join(folder, "package.json"),
      JSON.stringify({ name: "somebody", private: true, type: "module" }),
    );
    run(folder, "npm", "install", "--no-audit", "--no-fund", path.join(folder, filename));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("holds no tests, training scripts or pictures", () => {
    const files = run(path.join(folder, "node_modules", "paligemma-tfjs"), "find", ".", "-type", "f").split("\n");
    assert.deepEqual(
      files.filter((file) => /\/(test|benchmarks|demo-training)\/|\.png$|\.py$/.test(file)),
      [],
    );
  });

  it("holds every page of the documentation", () => {
    const installed = path.join(folder, "node_modules", "paligemma-tfjs");
    for (const { name, text } of allPages()) assert.equal(readFileSync(path.join(installed, name), "utf8"), text);
  });

  it("installed in an empty folder, imports, asks the demo checkpoint, and lends its layers to a tf.model", () => {
    const image = path.join(heldoutFolder, "0002.png");
    writeFileSync(
      path.join(folder, "ask.js"),
      `import * as tf from "@tensorflow/tfjs";
       import { PaliGemma } from "paligemma-tfjs";
       import { RMSNorm } from "paligemma-tfjs/layers";
       import { canonicalName } from "paligemma-tfjs/weights";
       const model = await PaliGemma.load(undefined, { backend: "wasm" });
       const { text, backend } = await model.generate({ image: ${JSON.stringify(image)}, prompt: "caption en" });
       const input = tf.input({ shape: [7] });
       const net = tf.model({ inputs: input, outputs: new RMSNorm({ eps: 1e-6 }).apply(input) });
       const name = canonicalName("model.language_model.norm.weight");
       console.log(JSON.stringify({ text, backend, shape: net.predict(tf.ones([2, 7])).shape, name }));`,
    );
    const { text, backend, shape, name } = JSON.parse(run(folder, "node", "ask.js").trim().split("\n").at(-1)!);
    const { pictures } = JSON.parse(readFileSync(path.join(heldoutFolder, "heldout.json"), "utf8"));
    const items = pictures.find(({ file }: { file: string }) => file === "0002.png").items;
    assert.equal(text, items.find(({ prompt }: { prompt: string }) => prompt === "caption en").expected);
    assert.deepEqual([backend, shape, name], ["wasm", [2, 7], "language_model.model.norm.weight"]);
  });

  it("compares a backend with its own reference", () => {
    const out = run(folder, "npx", "--no-install", "paligemma", "doctor", "--backend", "wasm", "--json");
    const { ok, backends } = JSON.parse(out) as Diagnosis;
    assert.equal(ok, true);
    assert.deepEqual([backends[0]!.checked!.parity.hooks, backends[0]!.checked!.parity.tokensEqual], [11, true]);
  });

  it("brings the command paligemma", () => {
    const out = run(folder, "npx", "--no-install", "paligemma", "hooks");
    assert.match(out, /^language\.unembed\.hook_out \[B, T, \d+\]$/m);
  });
});
