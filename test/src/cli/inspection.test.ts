import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import sharp from "sharp";

import { readRun } from "../../../src/runs/run-files.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { longOnCpu, onEachBackend } from "../../support/backends.js";
import { cli } from "../../support/run-cli.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");
const other = path.join(packageRoot(), "test", "heldout", "0013.png"); // its heart is green
const prompt = "answer en what color is the heart?"; // yellow, at the center
const STREAM = "language.blocks.*.hook_resid_post";

describe("commands of inspection", () => {
  let scratch: string;
  before(() => {
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-cli-"));
  });
  after(() => rmSync(scratch, { recursive: true }));

  /** Runs a command on the demo checkpoint, and gives what it prints; a failure fails. */
  async function run(backend: string, command: string, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await cli(command, picture, "--prompt", prompt, "--backend", backend, ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  onEachBackend(longOnCpu("on the demo checkpoint"), (backend) => {
    const file = (name: string) => path.join(scratch, `${backend}-${name}`);

    it("inspect keeps the positions asked for, of every generated token, in each form of file", async () => {
      const forms = [file("run.npz"), file("run.safetensors"), file("run.json")];
      for (const out of forms) {
        const flags = ["--hooks", STREAM, "--positions", "last", "--generate", "4", "--out", out, "--json"];
        const { activations, passes, text } = JSON.parse(await run(backend, "inspect", ...flags));
        assert.deepEqual([activations, passes, text], [8, 2, "yellow"]); // the word, and the end of the sequence
      }
      const [npz, safetensors, json] = await Promise.all(forms.map(readRun));
      assert.deepEqual([...npz.tensors.keys()].sort(), [...safetensors.tensors.keys()].sort());
      const name = "language.blocks.3.hook_resid_post@1";
      assert.deepEqual(npz.tensors.get(name)!.shape.slice(0, 2), [1, 1]);
      assert.deepEqual(npz.tensors.get(name)!.data, safetensors.tensors.get(name)!.data);
      assert.deepEqual(json.tensors.get(name)!.data, safetensors.tensors.get(name)!.data);
      assert.deepEqual([safetensors.metadata.pos_slice, safetensors.metadata.step], ["last", "0,1"]);
      assert.equal(JSON.parse(safetensors.metadata.tokens)[0].length, 76);
    });

    it("edits of a file change the run, and diff finds the first block that they touch", async () => {
      const edits = file("edits.json");
      writeFileSync(
        edits,
        JSON.stringify([{ hook: "language.blocks.2.hook_mlp_out", op: "suppress", positions: "last" }]),
      );
      const [plain, edited] = [file("plain.safetensors"), file("edited.safetensors")];
      await run(backend, "inspect", "--hooks", STREAM, "--positions", "last", "--out", plain);
      await run(backend, "inspect", "--hooks", STREAM, "--positions", "last", "--out", edited, "--edits", edits);
      assert.equal(JSON.parse((await readRun(edited)).metadata.interventions)[0].op, "suppress");
      const { stdout, code } = await cli("diff", plain, edited, "--json");
      assert.equal(code, 0);
      const found = JSON.stringify(JSON.parse(stdout));
      assert.match(found, /language\.blocks\.1\.hook_resid_post/);
      const limited = await cli("diff", plain, edited, "--limit", "1e-6");
      assert.equal(limited.code, 1);
      assert.equal((await cli("diff", plain, plain, "--limit", "0")).code, 0);
    });

    it("lens ends at the answer", async () => {
      const cells = JSON.parse(await run(backend, "lens", "--json", "--top", "3"));
      assert.equal(cells.length, 4);
      assert.equal(cells.at(-1).top[0].text.trim(), "yellow");
      assert.match(await run(backend, "lens", "--layers", "3"), /layer +position +tokens.*\n3 +73 +" ?yellow"/);
      const grid = file("lens.png");
      await run(backend, "lens", "--positions", "bos,prefix,last", "--out", grid);
      assert.ok((await sharp(grid).metadata()).width > 500);
      assert.match(
        await run(backend, "lens", "--tower", "vision", "--positions", "38", "--layers", "3"),
        /^Extrapolated/,
      );
    });

    it("attention says where the query looks, and draws it", async () => {
      const { mean, grid, segments } = JSON.parse(await run(backend, "attention", "--json"));
      assert.deepEqual([mean.length, grid, segments[0]], [74, [8, 8], { name: "image", start: 0, end: 64 }]);
      const best = mean.slice(0, 64).indexOf(Math.max(...mean.slice(0, 64)));
      assert.ok([35, 36, 43, 44].includes(best), `patch ${best} is not on the heart`);
      for (const view of ["map", "gallery", "overview"]) {
        const out = file(`${view}.png`);
        assert.match(
          await run(backend, "attention", "--token", "0", "--view", view, "--out", out),
          /which chose "yellow"/,
        );
        const { width, height } = await sharp(out).metadata();
        assert.ok(width > 300 && height > 300, `${view}: ${width} x ${height}`);
      }
      const svg = file("map.svg");
      await run(
        backend,
        "attention",
        "--layers",
        "1:3",
        "--heads",
        "0",
        "--undo-squash",
        "--normalisation",
        "log",
        "--out",
        svg,
      );
      assert.match(readFileSync(svg, "utf8"), /blocks 1, 2 and heads 0/);
    });

    it("patch brings the clean answer back from the picture's rows, early", async () => {
      const flags = [
        "--corrupt-image",
        other,
        "--answer",
        "yellow",
        "--positions",
        "image,prefix",
        "--layers",
        "0,3",
        "--json",
      ];
      const found = JSON.parse(await run(backend, "patch", ...flags));
      assert.ok(found.clean > found.corrupted + 1);
      const [[early], [late]] = found.values;
      assert.ok(Math.abs(early - found.clean) < 1e-3 && late < found.clean - 0.5, JSON.stringify(found.values));
    });
  });

  describe("bad input is one sentence and exit code 1", () => {
    const cases: [string, string[], RegExp][] = [
      [
        "positions that are none",
        ["inspect", "--hooks", STREAM, "--positions", "middle", "--out", "x.npz"],
        /positions of .*expected an index/,
      ],
      [
        "keys of a stream",
        ["inspect", "--hooks", STREAM, "--keys", "image", "--out", "x.npz"],
        /keys: only hook_attn_scores/,
      ],
      ["another ending", ["inspect", "--hooks", STREAM, "--out", "x.pt"], /x\.pt: expected a file that ends in/],
      ["edits that are not there", ["lens", "--edits", "nowhere.json"], /--edits nowhere\.json: expected a JSON file/],
      ["a block that there is not", ["lens", "--layers", "7"], /layers: expected blocks in \[0, 4\), received 7/],
      ["layers that are none", ["lens", "--layers", "a"], /--layers: expected indices/],
      ["two queries", ["attention", "--query", "image"], /--query: expected one position, received 64/],
      ["a token that the answer has not", ["attention", "--token", "9"], /--token: the answer has \d+ tokens only/],
      [
        "a picture of another kind",
        ["attention", "--out", "map.gif"],
        /map\.gif: expected a file that ends in \.png or \.svg/,
      ],
      [
        "a segment that there is not",
        ["attention", "--view", "overview", "--segment", "sky", "--out", "/tmp/never.png"],
        /--segment: expected one of image/,
      ],
      ["the same answer in both runs", ["patch"], /both runs answer with the same token/],
      [
        "prompts of unequal length",
        ["patch", "--corrupt-prompt", "ocr", "--answer", "a", "--against", "b"],
        /prompts of equal length/,
      ],
    ];
    for (const [what, [command, ...args], message] of cases) {
      it(what, async () => {
        const { code, stdout, stderr } = await cli(command, picture, "--prompt", prompt, "--backend", "wasm", ...args);
        assert.deepEqual([code, stdout], [1, ""]);
        assert.match(stderr, message);
        assert.equal(stderr.trim().split("\n").length, 1, stderr);
        for (const left of ["x.npz", "map.gif", "/tmp/never.png"]) assert.ok(!existsSync(left), left);
      });
    }
  });
});
