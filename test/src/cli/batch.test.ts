import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { heldoutFolder } from "../../heldout/heldout.js";
import { readAnswers, scratchFolder, writeLines } from "../../support/batch-files.js";
import { cli } from "../../support/run-cli.js";

describe("the command batch", () => {
  const scratch = scratchFolder();
  const image = path.join(heldoutFolder, "0004.png");
  const run = (...args: string[]) => cli("batch", "--backend", "wasm", ...args);
  const files = (name: string) => ["--input", scratch("data.jsonl"), "--out", scratch(name)];
  before(() =>
    writeLines(scratch("data.jsonl"), [
      { id: "a", image, prompt: "answer en what color is the heart?" },
      { id: "b", image: "absent.png", prompt: "caption en" },
      { id: "c", image, prompt: "caption en" },
    ]),
  );

  it("ends with 0 although a line is wrong, says how far it is on stderr, and sums up on stdout", async () => {
    const { code, stdout, stderr } = await run(...files("out.jsonl"));
    assert.equal(code, 0, stderr);
    assert.equal(process.listenerCount("SIGTERM"), 0, "it still listens to signals");
    assert.equal(stdout, `3 lines: 2 answered, 1 errors, 0 there already -> ${scratch("out.jsonl")}\n`);
    assert.match(stderr, /^0\/3 lines, 0 lines\/s, 0 errors, 0 there already\n3\/3 lines, [\d.]+ lines\/s, 1 errors/);
    const answers = new Map(readAnswers<Record<string, unknown>>(scratch("out.jsonl")).map((one) => [one.id, one]));
    assert.equal(answers.get("a")!.text, "yellow");
    assert.ok("error" in answers.get("b")!);
    const before = readFileSync(scratch("out.jsonl"));
    const again = await run(...files("out.jsonl"), "--json");
    const { linesPerSecond, ...summary } = JSON.parse(again.stdout) as Record<string, unknown>;
    assert.deepEqual(summary, { lines: 3, skipped: 3, answered: 0, errors: 0, out: scratch("out.jsonl") });
    assert.equal(linesPerSecond, 0);
    assert.ok(readFileSync(scratch("out.jsonl")).equals(before));
  });

  it("takes its shard, and its limits to heart", async () => {
    const lines = [];
    for (const shard of ["0/2", "1/2"]) {
      const { code, stderr } = await run(
        ...files("part.jsonl"),
        "--shard",
        shard,
        "--max-new-tokens",
        "1",
        "--batch-size",
        "1",
      );
      assert.equal(code, 0, stderr);
      lines.push(...readAnswers<{ id: string; tokens?: number[] }>(scratch(`part.0000${shard[0]}-of-00002.jsonl`)));
    }
    assert.deepEqual(lines.map(({ id }) => id).sort(), ["a", "b", "c"]);
    assert.ok(lines.every(({ tokens }) => tokens === undefined || tokens.length === 1));
  });

  it("told to end by a signal, ends with 128 + its number, gives the lock back, and goes on when it is run again", async () => {
    const running = run(...files("stopped.jsonl"));
    while (process.listenerCount("SIGTERM") === 0) await new Promise((resolve) => setImmediate(resolve));
    process.emit("SIGTERM", "SIGTERM");
    const { code, stdout, stderr } = await running;
    assert.deepEqual([code, stdout], [143, ""]);
    assert.match(stderr, /^stopped by SIGTERM; run the same command again for what is left$/m);
    assert.ok(!existsSync(scratch("stopped.jsonl.lock")));
    assert.equal(process.listenerCount("SIGTERM"), 0);
    assert.equal((await run(...files("stopped.jsonl"))).code, 0);
    assert.equal(readAnswers(scratch("stopped.jsonl")).length, 3);
  });

  for (const [what, args, message] of [
    ["no input", ["--out", "x.jsonl"], /required option '--input <file>'/],
    [
      "a shard that is none",
      ["--input", "x", "--out", "y", "--shard", "2/2"],
      /shard: expected i\/N .* received "2\/2"/,
    ],
    [
      "an input that is not there",
      ["--input", "absent.jsonl", "--out", "y.jsonl"],
      /absent\.jsonl: cannot be read \(ENOENT\)/,
    ],
    ["an output that cannot be written", ["--input", image, "--out", "absent/y.jsonl"], /there is no folder .*absent/],
    ["a limit that is none", ["--input", image, "--out", "y.jsonl", "--max-new-tokens", "0"], /maxNewTokens: expected/],
  ] as const) {
    it(`ends with 1 for ${what}`, async () => {
      const { code, stdout, stderr } = await run(...args);
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, message);
      assert.ok(!existsSync("y.jsonl"));
    });
  }

  it("ends with 1 where the model cannot be loaded, and leaves its lines for later", async () => {
    const { code, stderr } = await run(...files("later.jsonl"), "--model", scratch("nowhere"));
    assert.equal(code, 1);
    assert.match(stderr, /nowhere/);
    assert.equal(readFileSync(scratch("later.jsonl"), "utf8"), "");
    assert.ok(!existsSync(scratch("later.jsonl.lock")));
  });
});
