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
import { allPages, LANGUAGES, Page } from "./docs/page.js";
import { fixtures } from "./parity/reference.js";
import { writeDemoAdapter } from "./support/demo-adapter.js";
import { DemoHub } from "./support/demo-hub.js";
import { cli } from "./support/run-cli.js";
import { tinyFolder } from "./support/tiny.js";

const root = packageRoot();
const pages = allPages();
const readme = pages.find(({ name }) => name === "README.md")!;
const ci = readFileSync(path.join(root, ".ci", "run"), "utf8");
const { scripts } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
  scripts: Record<string, string>;
};

/** The reader's own picture. */
const PICTURE = path.join(root, "test", "heldout", "0002.png");

/** The commands of CI, without the variables that it sets before some. */
const steps = ci
  .split("\n")
  .filter((step) => !/^(#|step )/.test(step))
  .map((step) => step.replace(/^([A-Z_]+=\S+ |newcomer )*/, ""));

/** Commands that neither CI nor this test runs, each with the reason. */
const NOT_RUN = new Map([
  ["npm run setup:native -- --gpu", "installs 8 GB, and needs a GPU"],
  ["npm run format", "changes files; CI runs format:check"],
  ["npm run docs:hooks", "changes a file; test/docs/hooks-page.test.ts compares it"],
  ["npm run docs:names", "changes a file; test/docs/names-page.test.ts compares it"],
  ["npx mocha test/readme.test.ts", "is this test"],
]);

/** What the Python of a page shows when it has run. */
const PYTHON: Record<string, { print: string; shows: RegExp }> = {
  "docs/inspection.md": {
    print: "print(stream.shape, plain.shape, stream.dtype)",
    shows: /^\(1, 1, \d+\) \(1, 1, \d+\) float32$/m,
  },
};

/** What is added to commands that would install something, need a GPU or look at every backend. */
function shortened([command, ...flags]: string[]): string[] {
  if (command === "setup-native" || flags.includes("--gpu")) return ["--help"];
  return command === "doctor" ? ["--backend", "wasm"] : [];
}

describe("the documentation", () => {
  let hub: DemoHub; // its Hub: the demo checkpoint under the names that the pages use
  let shared: string; // what no command changes: the reader's adapters
  before(async () => {
    hub = await DemoHub.start({ "google/paligemma-3b-mix-224": {}, "google/paligemma2-3b-mix-224": {} });
    shared = mkdtempSync(path.join(tmpdir(), "paligemma-docs-"));
    await writeDemoAdapter(path.join(shared, "adapters", "ocr"), 1);
    await writeDemoAdapter(path.join(shared, "adapters", "charts"), 2);
  });
  after(async () => {
    await hub.stop();
    rmSync(shared, { recursive: true, force: true });
  });

  for (const page of pages) describe(page.name, () => pageTests(page, () => shared));

  it("has commands and snippets", () => {
    const all = (count: (page: Page) => unknown[]) => pages.flatMap(count).length;
    assert.ok(all((page) => page.commands()) > 50);
    assert.ok(all((page) => page.blocks("ts")) >= 9);
  });

  it("README has at most 150 lines", () => {
    assert.ok(readme.text.trimEnd().split("\n").length <= 150);
  });

  it("README begins with the commands that CI runs first, as on a machine that has nothing of ours", () => {
    const typed = readme.blocks("sh")[0]!.trimEnd().split("\n");
    const run = ci.split("\n").filter((line) => /^(newcomer )?(npm|npx|timeout|[A-Z_]+=) ?/.test(line));
    assert.deepEqual(
      run.slice(0, typed.length),
      typed.map((line) => `newcomer ${line}`),
    );
  });

  for (const name of ["README.md", "docs/README.md"]) {
    it(`${name} links to every other page`, () => {
      const linked = new Set(new Page(name).links().map(([file]) => file));
      const missed = pages.filter((page) => page.name !== name && page !== readme && !linked.has(page.name));
      assert.deepEqual(
        missed.map((page) => page.name),
        [],
      );
    });
  }

  it("and the changelog speaks of this version", () => {
    assert.match(readFileSync(path.join(root, "CHANGELOG.md"), "utf8"), new RegExp(`^## ${packageVersion()}\\b`, "m"));
  });
});

/** The tests of one page; what its commands read and write lies in a folder of its own. */
function pageTests(page: Page, shared: () => string): void {
  let scratch: string;
  before(() => {
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-page-"));
    const write = (name: string, text: string | undefined) => {
      if (text !== undefined) writeFileSync(path.join(scratch, name), text);
    };
    write("edits.json", page.blocks("json")[0]);
    write("data.jsonl", page.blocks("jsonl").map(ours)[0]);
    write("prompts.txt", "caption en\nocr\n");
    cpSync(path.join(fixtures, "npz", "tiny-pg2", "f32.npz"), path.join(scratch, "pt_224.npz"));
    cpSync(path.join(fixtures, "npz", "tiny-pg2", "config.json"), path.join(scratch, "config.json"));
  });
  after(() => rmSync(scratch, { recursive: true, force: true }));

  /** A text of the page with the tests' files in place of the reader's. */
  const ours = (text: string) =>
    text
      .replaceAll("path/to/paligemma", demoCheckpoint())
      .replaceAll("path/to/adapters", path.join(shared(), "adapters"))
      .replaceAll("path/to/tokenizer", tinyFolder("tiny-pg2"))
      .replaceAll(/path\/to\/(converted|smaller|saved)/g, (_, name: string) => path.join(scratch, name))
      .replaceAll(/[\w-]+\.(safetensors|npz|json|txt|png|html)/g, (name) => path.join(scratch, name))
      .replaceAll("photo.jpg", PICTURE);

  it("has no block that no test knows", () => {
    const known = LANGUAGES.map((language) => `\`\`\`${language}`);
    assert.deepEqual(
      page.fences().filter((fence) => !known.includes(fence)),
      [],
    );
    for (const language of ["json", "jsonl", "python"]) assert.ok(page.blocks(language).length <= 1, language);
    assert.equal(page.blocks("json").length === 1, /\bedits\.json\b/.test(page.commands().join("\n")), "edits.json");
    assert.equal(page.blocks("jsonl").length === 1, /\bdata\.jsonl\b/.test(page.commands().join("\n")), "data.jsonl");
  });

  for (const line of page.commands()) {
    const call = /^(?:npm run -s paligemma -- |npx paligemma )(.*)$/.exec(line);
    if (call) {
      it(`its command works: ${line}`, async function () {
        if (/--dtype (int8|nf4)/.test(line) && !(await loadNative())?.kernels) {
          assert.notEqual(process.env.PALIGEMMA_REQUIRE_TENSORFLOW, "1", "the kernels are not built");
          this.skip();
        }
        const args = [...ours(call[1]!).matchAll(/"([^"]*)"|'([^']*)'|(\S+)/g)].map(
          (match) => (match[1] ?? match[2] ?? match[3])!,
        );
        const { code, stdout, stderr } = await cli(...args, ...shortened(args));
        assert.equal(code, 0, stderr);
        assert.notEqual(stdout, "");
      });
    } else {
      it(`CI runs its command, or it is known why not: ${line}`, () => {
        assert.ok(steps.includes(line) || NOT_RUN.has(line), `.ci/run does not run: ${line}`);
        const script = /^npm run (\S+)/.exec(line)?.[1];
        assert.ok(script === undefined || script in scripts, `package.json has no script ${script}`);
      });
    }
  }

  page.blocks("ts").forEach((snippet, i) => {
    it(`its snippet ${i + 1} runs`, () => runSnippet(ours(snippet), `${page.name.replaceAll(/\W/g, "-")}-${i}.mts`));
  });

  page.blocks("python").forEach((block) => {
    it("its Python reads the files that its commands have written", async function () {
      const python = process.env.PALIGEMMA_PYTHON ?? "python3";
      const run = (source: string) => promisify(execFile)(python, ["-c", source], { cwd: scratch });
      if (!(await run("import numpy, safetensors").catch(() => null))) {
        assert.notEqual(process.env.PALIGEMMA_REQUIRE_PYTHON, "1", "numpy and safetensors are not installed");
        console.log("      (skipped: Python with numpy and safetensors, named by PALIGEMMA_PYTHON)");
        this.skip();
      }
      const { print, shows } = PYTHON[page.name]!;
      assert.match((await run(`${block}\n${print}`)).stdout, shows);
    });
  });

  it("holds no figure that is still to be filled in", () => {
    const variables = /\b(PALIGEMMA|CUDA|HF)_[A-Z_]+\b/g; // of the environment, which are documented so
    const names = page.name === "docs/names.md" ? /`[A-Z_]+`/g : variables; // constants that the package exports
    assert.equal(/\b[A-Z]+_[A-Z_]+\b/.exec(page.text.replaceAll(variables, "").replaceAll(names, ""))?.[0], undefined);
  });

  it("links to files and anchors that exist, and names tests that exist", () => {
    for (const [file, anchor] of page.links()) {
      assert.ok(existsSync(path.join(root, file)), file);
      if (anchor !== null) assert.ok(new Page(file).anchors().includes(anchor), `${file}#${anchor}`);
    }
    const tests = [...page.text.matchAll(/`(test\/[\w./-]+)`/g)].map((match) => match[1]!);
    for (const file of tests) assert.ok(existsSync(path.join(root, file)), file);
  });
}

/** The source of a door of the package: package.json's exports name what is built of it. */
function sourceOf(door: string | undefined): string {
  const { exports } = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8")) as {
    exports: Record<string, { default: string }>;
  };
  return exports[door === undefined ? "." : `./${door}`]!.default.replace("./dist/", "").replace(/\.js$/, ".ts");
}

/** Runs a snippet from a file beside node_modules, so that it finds the same TensorFlow.js as everything else. */
async function runSnippet(snippet: string, name: string): Promise<void> {
  const folder = path.join(root, ".mutants");
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, name);
  const source = snippet.replaceAll(/"paligemma-tfjs(?:\/(\w+))?"/g, (_, door?: string) =>
    JSON.stringify(pathToFileURL(path.join(root, sourceOf(door))).href),
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
}
