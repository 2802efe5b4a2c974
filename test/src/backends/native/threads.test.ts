import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

import { type KernelAddon, kernelAddonPath } from "../../../../src/backends/native/kernel-addon.js";
import { loadNative } from "../../../../src/backends/native/load.js";
import { openPinned } from "../../../../src/backends/native/pinned.js";
import { run } from "../../../../src/backends/native/process.js";
import { fixtures, readReference } from "../../../parity/reference.js";
import { LONG, onEachBackend } from "../../../support/backends.js";
import type { ThreadPlan, ThreadTask } from "../../../support/threads.js";
import { tinyFolder } from "../../../support/tiny.js";

const MODEL = "tiny-pg2";
const SCRIPT = fileURLToPath(new URL("../../../support/threads.ts", import.meta.url));

onEachBackend("threads", (backend) => {
  let task: ThreadTask;
  let expected: number[];
  before(async () => {
    const folder = path.join(fixtures, "references", MODEL, "prompt");
    const reference = await readReference(folder);
    const question = { image: path.join(folder, reference.pictures[0][0]), prompt: reference.prompts[0] };
    task = { backend, model: tinyFolder(MODEL), ...question, answers: 1 };
    expected = reference.greedy[0].slice(0, 6);
  });

  /** Runs a plan in a process of its own, which a fault would end, and returns the answers of each thread. */
  async function answersOf(plan: ThreadPlan): Promise<number[][][]> {
    const args = ["--import", "tsx", SCRIPT, JSON.stringify(plan)];
    const { code, stdout, stderr } = await run(process.execPath, args, { timeoutMs: 120_000 });
    assert.equal(code, 0, stderr.slice(-2000));
    assert.equal(stderr, "");
    return JSON.parse(stdout) as number[][][];
  }

  it("in which the addon is opened twice have one set of operations", async function () {
    const native = backend === "tensorflow" ? await loadNative() : null;
    if (!native?.kernels) return this.skip();
    const file = kernelAddonPath(native.folder);
    const require = createRequire(import.meta.url);
    const first = openPinned(require, file) as KernelAddon;
    assert.equal(openPinned(require, file), first);
    delete require.cache[require.resolve(file)];
    const second = openPinned(require, file) as KernelAddon;
    assert.notEqual(second, first);
    assert.deepEqual(second.info(), first.info());
    const region = second.copy(new Uint8Array(8));
    assert.equal(first.fault(region), "");
    first.close(region);
    second.close(region);
  });

  it(`that come one after another answer alike, and so does the main thread at the end${LONG}`, async () => {
    const answers = await answersOf({ rounds: [[task], [task], [task]], main: task });
    assert.deepEqual(answers, Array(4).fill([expected]));
  });

  it(`of a pool that shrinks and grows, several at once, answer alike${LONG}`, async () => {
    const twice = { ...task, answers: 2 };
    const answers = await answersOf({ rounds: [[twice, task, twice], [task], [twice, twice]], main: task });
    assert.deepEqual(
      answers,
      [2, 1, 2, 1, 2, 2, 1].map((count) => Array(count).fill(expected)),
    );
  });

  it(`that are ended while they compute harm no later one${LONG}`, async () => {
    const ended = { ...task, answers: 1000, stopEarly: true };
    const answers = await answersOf({ rounds: [[ended], [ended, ended], [task]], main: task });
    assert.deepEqual(answers.slice(-2), Array(2).fill([expected]));
    for (const cut of answers.slice(0, 3)) {
      assert.ok(cut.length > 0 && cut.length < 1000);
      for (const tokens of cut) assert.deepEqual(tokens, expected);
    }
  });
});
