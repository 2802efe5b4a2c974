import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";

import type { BatchResult } from "../src/jobs/batch-result.js";
import { heldoutFolder } from "./heldout/heldout.js";
import { readAnswers, sameAnswers, scratchFolder, writeLines } from "./support/batch-files.js";
import { CliProcess } from "./support/batch-process.js";

const LINES = 48;

/** Several questions on each of some pictures, and lines that cannot be asked. */
function questions(): object[] {
  const prompts = ["caption en", "answer en what color is the ground?", "detect circle ; star", "ocr"];
  return Array.from({ length: LINES }, (_, i) => {
    const picture = i % 12 === 7 ? "absent.png" : `${String(1 + (i % 9)).padStart(4, "0")}.png`;
    return { id: `line ${i}`, image: path.join(heldoutFolder, picture), prompt: prompts[i % prompts.length] };
  });
}

describe("batches in processes of their own", () => {
  const scratch = scratchFolder();
  const start = (out: string, ...more: string[]) =>
    new CliProcess("batch", "--input", scratch("data.jsonl"), "--out", scratch(out), "--max-new-tokens", "24", ...more);
  const wasm = ["--backend", "wasm", "--batch-size", "2"];
  let whole: BatchResult[];

  before(async () => {
    writeLines(scratch("data.jsonl"), questions());
    const { code, stderr } = await start("whole.jsonl", "--backend", "wasm").ended;
    assert.equal(code, 0, stderr);
    whole = readAnswers(scratch("whole.jsonl"));
    assert.equal(whole.length, LINES);
  });

  it("two shards, one of them killed in the middle and started again, give the lines of one run", async () => {
    const parts = ["out.00000-of-00002.jsonl", "out.00001-of-00002.jsonl"].map((name) => scratch(name));
    const [killed, other] = ["0/2", "1/2"].map((shard) => start("out.jsonl", "--shard", shard, ...wasm));
    await killed!.hasWritten(parts[0]!, 5);
    killed!.kill("SIGKILL");
    assert.equal((await killed!.ended).signal, "SIGKILL");
    assert.ok(existsSync(`${parts[0]}.lock`), "a killed process gives nothing back");
    const again = await start("out.jsonl", "--shard", "0/2", ...wasm).ended;
    assert.equal(again.code, 0, again.stderr);
    const [, answered, errors, there] = /(\d+) answered, (\d+) errors, (\d+) there already/.exec(again.stdout)!;
    assert.ok(Number(there) >= 5 && Number(answered) + Number(errors) > 0, again.stdout);
    assert.equal((await other!.ended).code, 0);
    const answers = parts.flatMap((part) => readAnswers<BatchResult>(part));
    assert.equal(answers.length, LINES);
    sameAnswers(answers, whole);
  });

  for (const [signal, exitCode] of [
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ] as const) {
    it(`${signal} ends a process with ${exitCode} and whole lines; run again, it has the lines of one run`, async () => {
      const out = `${signal}.jsonl`;
      const running = start(out, ...wasm);
      await running.hasWritten(scratch(out), 3);
      running.kill(signal);
      const { code, stderr } = await running.ended;
      assert.equal(code, exitCode, stderr);
      const before = readAnswers(scratch(out));
      assert.ok(before.length >= 3 && before.length < LINES, String(before.length));
      assert.ok(!existsSync(scratch(`${out}.lock`)));
      assert.equal((await start(out, ...wasm).ended).code, 0);
      sameAnswers(readAnswers(scratch(out)), whole);
    });
  }

  it("a second process on the same output is refused, and the first is not disturbed", async () => {
    const first = start("same.jsonl", "--backend", "cpu", "--batch-size", "1"); // slow enough to show that it is alive
    await first.hasWritten(scratch("same.jsonl"), 1);
    const second = await start("same.jsonl", ...wasm).ended;
    assert.equal(second.code, 1, second.stderr);
    assert.match(second.stderr, /same\.jsonl: locked by process \d+ on .*; waiting up to 60 s/);
    assert.match(second.stderr, /same\.jsonl: process \d+ on .* is writing to it; let it end, or give another/);
    first.kill("SIGTERM");
    assert.equal((await first.ended).code, 143);
    const answers = readAnswers(scratch("same.jsonl"));
    assert.equal(new Set(answers.map(({ id }) => id)).size, answers.length);
  });
});
