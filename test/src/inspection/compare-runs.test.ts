import { strict as assert } from "node:assert";
import path from "node:path";

import { Command } from "commander";

import { addDiff } from "../../../src/cli/diff.js";
import { compareRuns, exceeds, type TensorDifference, worstOf } from "../../../src/inspection/compare-runs.js";
import { writeRun } from "../../../src/runs/run-files.js";
import type { StoredTensor } from "../../../src/inspection/stored-run.js";
import { fixtures } from "../../parity/reference.js";
import { withFolder } from "../../weights/helpers.js";

const MASKED = -2.3819763e38;
const row = (...values: number[]): StoredTensor => ({ shape: [values.length], data: Float32Array.from(values) });
const runOf = (tensors: Record<string, StoredTensor>) => new Map(Object.entries(tensors));
const pair = (a: number[], b: number[]) =>
  compareRuns(runOf({ x: row(...a) }), runOf({ x: row(...b) }))[0] as TensorDifference;

describe("comparing runs", () => {
  it("gives largest, relative and mean difference and the cosine, by hand", () => {
    assert.deepEqual(pair([3, 0, 4, -8], [3, 2, 4, -4]), {
      name: "x",
      kind: "compared",
      shape: [4],
      maxAbs: 4,
      relative: 1,
      meanAbs: 1.5,
      cosine: 57 / Math.sqrt(89 * 45),
      apart: 0,
    });
  });

  it("is relative to the largest number of b, but not below 1", () => {
    assert.equal(pair([0, 108], [0, 100]).relative, 8 / 100);
    assert.equal(pair([0, 100], [0, 108]).relative, 8 / 108);
    assert.equal(pair([0.5], [0.25]).relative, 0.25);
  });

  it("forms differences in double precision", () => {
    const [a, b] = [Math.fround(1e30), Math.fround(1e30 + 1e24)];
    assert.equal(pair([a, a, 1], [b, b, 1]).maxAbs, b - a);
    assert.ok(pair([a, 1], [b, 1]).cosine > 0.999999);
  });

  it("of zeros points nowhere or both ways alike", () => {
    assert.deepEqual([pair([0, 0], [0, 0]).cosine, pair([0, 0], [1, 0]).cosine, pair([], []).cosine], [1, 0, 1]);
    assert.deepEqual([pair([], []).maxAbs, pair([], []).meanAbs], [0, 0]);
  });

  it("does not let closed cells hide what open ones show", () => {
    const { maxAbs, relative, meanAbs, cosine, apart } = pair([1, MASKED, 2], [1, -3.4e38, 4]);
    assert.deepEqual([maxAbs, relative, meanAbs, apart], [2, 0.5, 1, 0]);
    assert.equal(cosine, 9 / Math.sqrt(5 * 17));
    assert.equal(pair([1, MASKED], [1, -Infinity]).apart, 0);
    assert.equal(pair([1, MASKED], [1, 2]).apart, 1);
  });

  it("does not let NaN or an infinity pass for equal", () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      assert.equal(pair([1, value], [1, value]).apart, 0);
      for (const other of [1, NaN, Infinity, -Infinity].filter((one) => !Object.is(one, value))) {
        const { apart, maxAbs } = pair([2, value], [1, other]);
        assert.deepEqual([apart, maxAbs], [1, 1]);
        assert.equal(pair([2, other], [1, value]).apart, 1);
      }
    }
  });

  it("keeps the order of a, then what only b has, and reports shapes instead of failing", () => {
    const a = runOf({ z: row(1), y: row(1, 2), only: row(3), m: { shape: [2, 3], data: new Float32Array(6) } });
    const b = runOf({ more: row(9), m: { shape: [3, 2], data: new Float32Array(6) }, y: row(1, 2), z: row(1) });
    assert.deepEqual(
      compareRuns(a, b).map(({ name, kind }) => [name, kind]),
      [
        ["z", "compared"],
        ["y", "compared"],
        ["only", "only in a"],
        ["m", "shapes"],
        ["more", "only in b"],
      ],
    );
    assert.deepEqual(compareRuns(a, b)[3], { name: "m", kind: "shapes", shape: [2, 3], other: [3, 2] });
    const broken = runOf({ z: { shape: [1], data: new Float32Array(2) } });
    assert.equal(compareRuns(a, broken)[0].kind, "shapes");
  });

  it("knows the worst, the first of equals, and what exceeds a limit", () => {
    const differences = compareRuns(
      runOf({ a: row(1), b: row(1.5), c: row(0.5), d: row(1, 2), e: row(NaN), f: row(1) }),
      runOf({ a: row(1), b: row(1), c: row(1), d: row(1), e: row(1) }),
    );
    assert.equal(worstOf(differences)!.name, "e");
    assert.equal(worstOf(differences.slice(0, 4))!.name, "b");
    assert.equal(worstOf(differences.slice(5)), null);
    const above = (limit: number) => differences.filter((one) => exceeds(one, limit)).map(({ name }) => name);
    assert.deepEqual(above(0.5), ["d", "e"]);
    assert.deepEqual(above(0.49), ["b", "c", "d", "e"]);
  });
});

describe("the command diff", () => {
  /** Runs the command and returns what it printed; its exit code is that of the error it ended with. */
  async function diff(...args: string[]): Promise<{ code: number; stdout: string; stderr: string; message: string }> {
    const program = new Command().exitOverride().configureOutput({ writeErr: () => {} });
    addDiff(program);
    const printed = { stdout: "", stderr: "" };
    const originals = [process.stdout.write, process.stderr.write] as const;
    process.stdout.write = ((text: string) => ((printed.stdout += text), true)) as typeof process.stdout.write;
    process.stderr.write = ((text: string) => ((printed.stderr += text), true)) as typeof process.stderr.write;
    try {
      await program.parseAsync(["diff", ...args], { from: "user" });
      return { code: 0, ...printed, message: "" };
    } catch (error) {
      return { code: (error as { exitCode?: number }).exitCode ?? -1, ...printed, message: String(error) };
    } finally {
      [process.stdout.write, process.stderr.write] = originals;
    }
  }

  const first = runOf({
    "language.hook_embed": { shape: [1, 2], data: Float32Array.of(1, 2) },
    "language.blocks.0.hook_resid_post": { shape: [1, 2], data: Float32Array.of(4, 4) },
    "language.ln_final.hook_out": { shape: [1], data: Float32Array.of(NaN) },
    "language.unembed.hook_out": { shape: [2], data: Float32Array.of(1, 1) },
  });
  const second = runOf({
    "vision.hook_embed": { shape: [1], data: Float32Array.of(1) },
    "language.hook_embed": { shape: [1, 2], data: Float32Array.of(1, 2.25) },
    "language.blocks.0.hook_resid_post": { shape: [1, 2], data: Float32Array.of(4, 8) },
    "language.unembed.hook_out": { shape: [1], data: Float32Array.of(1) },
  });
  const withRuns = (body: (a: string, b: string) => Promise<void>) =>
    withFolder({}, async (folder) => {
      const [a, b] = [path.join(folder, "a.npz"), path.join(folder, "b.safetensors")];
      await writeRun(a, first);
      await writeRun(b, second);
      await body(a, b);
    });

  it("prints a line an activation in the order of computation, and marks the worst", () =>
    withRuns(async (a, b) => {
      const { code, stdout } = await diff(a, b);
      assert.equal(code, 0);
      const lines = stdout.split("\n");
      assert.match(lines[0], /^ +max abs +relative +mean abs +cosine$/);
      assert.match(lines[1], /^ +language\.hook_embed +\[1, 2\] +2\.5e-1 +1\.1e-1 +1\.3e-1 +0\.99/);
      assert.match(lines[2], /^\* language\.blocks\.0\.hook_resid_post +\[1, 2\] +4\.0e\+0 +5\.0e-1 +2\.0e\+0 +0\.94/);
      assert.match(lines[3], /^ +language\.ln_final\.hook_out +\[1\] +only in a$/);
      assert.match(lines[4], /^ +language\.unembed\.hook_out +\[2\] +has the shape \[1\] in b$/);
      assert.match(lines[5], /^ +vision\.hook_embed +\[1\] +only in b$/);
      assert.deepEqual(lines.slice(6), ["* the worst", ""]);
    }));

  it("ends with 1 and one sentence where the limit is exceeded, and marks where", () =>
    withRuns(async (a, b) => {
      const { code, stdout, stderr } = await diff(a, b, "--limit", "0.1");
      assert.equal(code, 1);
      assert.match(stderr, /^diff: language\.hook_embed and 2 more differ by more than 0\.1\n$/);
      assert.match(stdout, /^! language\.hook_embed/m);
      assert.match(stdout, /^\* language\.blocks\.0\.hook_resid_post/m);
      assert.match(stdout, /above the limit too, first language\.hook_embed\n$/);
      assert.equal((await diff(b, b, "--limit", "0")).code, 0);
      assert.match((await diff(a, b, "--limit", "much")).message, /--limit: expected a number, received "much"/);
    }));

  it("--json prints one object with every entry", () =>
    withRuns(async (a, b) => {
      const { code, stdout } = await diff(a, b, "--json", "--limit", "0.2");
      assert.equal(code, 1);
      const report = JSON.parse(stdout);
      assert.deepEqual(Object.keys(report), ["a", "b", "worst", "limit", "above", "notes", "differences"]);
      assert.equal(report.worst, "language.blocks.0.hook_resid_post");
      assert.deepEqual(report.above, ["language.blocks.0.hook_resid_post", "language.unembed.hook_out"]);
      assert.deepEqual(report.differences, JSON.parse(JSON.stringify(compareRuns(first, second))));
    }));

  it("compares a dump of transformers with a run of ours, heads and all", async () => {
    const taps = path.join(fixtures, "references", "tiny-pg2", "prompt", "taps.safetensors");
    for (const sides of [
      [path.join(fixtures, "dumps", "tiny-pg2"), taps],
      [taps, path.join(fixtures, "dumps", "tiny-pg2")],
    ]) {
      const { code, stdout, stderr } = await diff(...sides, "--limit", "1e-6");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /language\.blocks\.0\.attn\.hook_q +\[1, 22, 4, 16\] +\d/);
    }
  });

  it("refuses runs that have nothing in common", () =>
    withRuns(async (a) => {
      const arrays = path.join(fixtures, "arrays", "stored.npz");
      assert.match((await diff(a, arrays)).message, /have no activation in common/);
    }));
});
