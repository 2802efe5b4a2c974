import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";

import { demoCheckpoint } from "../src/base/demo-checkpoint.js";
import { packageRoot } from "../src/base/package-root.js";
import { loadNative } from "../src/backends/native/load.js";
import { packageVersion } from "../src/base/version.js";
import { fixtures } from "./parity/reference.js";
import { writeDemoAdapter } from "./support/demo-adapter.js";
import { DemoHub } from "./support/demo-hub.js";
import { cli } from "./support/run-cli.js";
import { tinyFolder } from "./support/tiny.js";

const root = packageRoot();
const readme = readFileSync(path.join(root, "README.md"), "utf8");
const ci = readFileSync(path.join(root, ".ci", "run"), "utf8");

/** The fenced blocks of a language. */
const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map((match) => match[1]);

/** What stands in the README for the reader's own files, and what the tests put there. */
const PICTURE = path.join(root, "test", "heldout", "0002.png");

describe("the README", () => {
  let scratch: string;
  let hub: DemoHub; // its Hub: the demo checkpoint under the names that the README uses
  before(async () => {
    hub = await DemoHub.start({ "google/paligemma-3b-mix-224": {}, "google/paligemma2-3b-mix-224": {} });
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-readme-"));
    writeFileSync(path.join(scratch, "edits.json"), blocks("json")[0]);
    writeFileSync(path.join(scratch, "prompts.txt"), "caption en\nocr\n");
    await writeDemoAdapter(path.join(scratch, "adapters", "ocr"), 1);
    await writeDemoAdapter(path.join(scratch, "adapters", "charts"), 2);
    cpSync(path.join(fixtures, "npz", "tiny-pg2", "f32.npz"), path.join(scratch, "pt_224.npz"));
    cpSync(path.join(fixtures, "npz", "tiny-pg2", "config.json"), path.join(scratch, "config.json"));
    writeFileSync(path.join(scratch, "data.jsonl"), ours(blocks("jsonl")[0]));
  });
  after(async () => {
    await hub.stop();
    rmSync(scratch, { recursive: true, force: true });
  });

  const ours = (text: string) =>
    text
      .replaceAll("path/to/paligemma", demoCheckpoint())
      .replaceAll("path/to/adapters", path.join(scratch, "adapters"))
      .replaceAll("path/to/tokenizer", tinyFolder("tiny-pg2"))
      .replaceAll(/path\/to\/(converted|smaller|saved)/g, (_, name: string) => path.join(scratch, name))
      .replaceAll(/[\w-]+\.(safetensors|npz|json|txt|png|html)/g, (name) => path.join(scratch, name))
      .replaceAll("photo.jpg", PICTURE);

  /** What is added to commands that would install something, need a GPU or look at every backend. */
  const shortened = ([command, ...flags]: string[]): string[] => {
    if (command === "setup-native" || flags.includes("--gpu")) return ["--help"];
    return command === "doctor" ? ["--backend", "wasm"] : [];
  };

  const commands = blocks("sh").flatMap((block) =>
    block.split("\n").filter((line) => line !== "" && !line.startsWith("#")),
  );

  /** The commands of CI, without the variables that it sets before some. */
  const steps = ci
    .split("\n")
    .filter((step) => !/^(#|step )/.test(step))
    .map((step) => step.replace(/^([A-Z_]+=\S+ |newcomer )*/, ""));
  /** Commands that nothing here can run, each for a reason that the README gives beside it. */
  const notRun = new Set(["npm run setup:native -- --gpu"]);

  it("has commands and snippets", () => {
    assert.ok(commands.length > 5);
    assert.ok(blocks("ts").length >= 3);
  });

  it("begins with the commands that CI runs first, as on a machine that has nothing of ours", () => {
    const typed = blocks("sh")[0].trimEnd().split("\n");
    const run = ci.split("\n").filter((line) => /^(newcomer )?(npm|npx|timeout|[A-Z_]+=) ?/.test(line));
    assert.deepEqual(
      run.slice(0, typed.length),
      typed.map((line) => `newcomer ${line}`),
    );
  });

  for (const line of commands) {
    const call = /^(?:npm run -s paligemma -- |npx paligemma )(.*)$/.exec(line);
    if (call) {
      it(`its command works: ${line}`, async function () {
        if (/--dtype (int8|nf4)/.test(line) && !(await loadNative())?.kernels) {
          assert.notEqual(process.env.PALIGEMMA_REQUIRE_TENSORFLOW, "1", "the kernels are not built");
          this.skip();
        }
        const args = [...ours(call[1]).matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
          (match) => match[1] ?? match[2] ?? match[3],
        );
        const { code, stdout, stderr } = await cli(...args, ...shortened(args));
        assert.equal(code, 0, stderr);
        assert.notEqual(stdout, "");
      });
    } else {
      it(`CI runs its command, or it is explained there: ${line}`, () => {
        assert.ok(steps.includes(line) || notRun.has(line), `.ci/run does not run: ${line}`);
      });
    }
  }

  blocks("ts").forEach((snippet, i) => {
    it(`its snippet ${i + 1} runs`, async () => {
      // Beside node_modules, so that the snippet finds the same TensorFlow.js as everything else.
      const folder = path.join(root, ".mutants");
      mkdirSync(folder, { recursive: true });
      const file = path.join(folder, `readme-${i}.mts`);
      const source = ours(snippet)
        .replaceAll('"paligemma-tfjs"', JSON.stringify(pathToFileURL(path.join(root, "src", "index.ts")).href))
        .replaceAll(
          '"paligemma-tfjs/layers"',
          JSON.stringify(pathToFileURL(path.join(root, "layers", "index.ts")).href),
        );
      writeFileSync(file, source);
      const log = console.log;
      const write = process.stdout.write;
      console.log = () => {};
      process.stdout.write = () => true;
      try {
        await import(pathToFileURL(file).href);
      } finally {
        console.log = log;
        process.stdout.write = write;
        rmSync(file);
      }
    });
  });

  it("its Python reads the files that its commands have written", async function () {
    const python = process.env.PALIGEMMA_PYTHON ?? "python3";
    const run = (source: string) => promisify(execFile)(python, ["-c", source], { cwd: scratch });
    if (!(await run("import numpy, safetensors").catch(() => null))) {
      assert.notEqual(process.env.PALIGEMMA_REQUIRE_PYTHON, "1", "numpy and safetensors are not installed");
      console.log("      (skipped: Python with numpy and safetensors, named by PALIGEMMA_PYTHON)");
      this.skip();
    }
    const { stdout } = await run(`${blocks("python")[0]}\nprint(stream.shape, plain.shape, stream.dtype)`);
    assert.match(stdout, /^\(1, 1, \d+\) \(1, 1, \d+\) float32$/m);
  });

  it("holds no figure that is still to be filled in", () => {
    const variables = /\b(PALIGEMMA|CUDA|HF)_[A-Z_]+\b/g; // of the environment, which are documented so
    assert.equal(/\b[A-Z]+_[A-Z_]+\b/.exec(readme.replaceAll(variables, ""))?.[0], undefined);
  });

  it("names files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map((match) => match[1]);
    const tests = [...readme.matchAll(/`(test\/[\w./-]+)`/g)].map((match) => match[1]);
    for (const file of [...links, ...tests]) assert.ok(existsSync(path.join(root, file)), file);
  });

  it("and the changelog speaks of this version", () => {
    assert.match(readFileSync(path.join(root, "CHANGELOG.md"), "utf8"), new RegExp(`^## ${packageVersion()}\\b`, "m"));
  });
});
