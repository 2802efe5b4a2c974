import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";

import { withOutputLock } from "../../../src/jobs/output-lock.js";
import { InputError } from "../../../src/base/errors.js";
import { scratchFolder } from "../../support/batch-files.js";

describe("the lock of an output", () => {
  const scratch = scratchFolder();
  /** Time passes only while something waits for it. */
  const clock = (atEachLook: () => void = () => {}) => {
    let now = 0;
    const wait = async (milliseconds: number) => {
      atEachLook();
      now += milliseconds;
    };
    return { poll: 500, lockSilence: 60_000, wait, now: () => now };
  };
  const holder = (pid: number, host = hostname()) => JSON.stringify({ id: "theirs", pid, host });

  it("is a file that names this process while it is held, and is gone afterwards", async () => {
    const file = scratch("plain.jsonl");
    await withOutputLock(file, {}, async (check) => {
      const { pid, host } = JSON.parse(readFileSync(`${file}.lock`, "utf8")) as { pid: number; host: string };
      assert.deepEqual([pid, host], [process.pid, hostname()]);
      await check();
    });
    assert.ok(!existsSync(`${file}.lock`));
    await assert.rejects(
      withOutputLock(file, {}, () => Promise.reject(new InputError("of the body"))),
      /of the body/,
    );
    assert.ok(!existsSync(`${file}.lock`));
  });

  it("of a process that is gone is taken at once", async () => {
    const file = scratch("dead.jsonl");
    const { pid } = spawnSync(process.execPath, ["-e", ""]);
    writeFileSync(`${file}.lock`, holder(pid));
    const patience = clock(() => assert.fail("waited"));
    assert.equal(await withOutputLock(file, { patience }, async () => "mine"), "mine");
  });

  for (const [who, written] of [
    ["a process with the same number, in an earlier container of this name", holder(process.pid)],
    ["a process of another machine", holder(1, "elsewhere")],
    ["one that died while it wrote the lock", ""],
  ] as const) {
    it(`of ${who}, silent for a minute, is taken`, async () => {
      const file = scratch("silent.jsonl");
      writeFileSync(`${file}.lock`, written);
      const patience = clock();
      const notices: string[] = [];
      const onNotice = (text: string) => void notices.push(text);
      assert.equal(await withOutputLock(file, { patience, onNotice }, async () => "mine"), "mine");
      assert.ok(patience.now() >= 60_000, `${patience.now()}`);
      assert.match(notices.join(), /silent\.jsonl: locked by .*; waiting up to 60 s to see whether it is alive$/);
    });
  }

  it("of a process that is alive is refused as soon as it stirs", async () => {
    const file = scratch("alive.jsonl");
    writeFileSync(`${file}.lock`, holder(1, "elsewhere"));
    let looks = 0;
    const patience = clock(() => {
      if (++looks === 7) utimesSync(`${file}.lock`, new Date(), new Date(Date.now() + 1000));
    });
    await assert.rejects(
      withOutputLock(file, { patience }, async () => "mine"),
      {
        name: "InputError",
        message: /alive\.jsonl: process 1 on elsewhere is writing to it; let it end, or give another/,
      },
    );
    assert.ok(patience.now() < 5000, `${patience.now()}`);
    assert.equal(readFileSync(`${file}.lock`, "utf8"), holder(1, "elsewhere"));
  });

  it("that another process has taken is noticed before anything is written, and left to it", async () => {
    const file = scratch("lost.jsonl");
    await withOutputLock(file, {}, async (check) => {
      writeFileSync(`${file}.lock`, holder(1, "elsewhere"));
      await assert.rejects(check(), { name: "InputError", message: /lost\.jsonl: another process has taken its lock/ });
    });
    assert.equal(readFileSync(`${file}.lock`, "utf8"), holder(1, "elsewhere"));
  });

  it("is not waited for once the run is to end", async () => {
    const file = scratch("ended.jsonl");
    writeFileSync(`${file}.lock`, holder(1, "elsewhere"));
    const controller = new AbortController();
    const patience = clock(() => controller.abort(new Error("enough")));
    await assert.rejects(
      withOutputLock(file, { patience, signal: controller.signal }, async () => "mine"),
      /enough/,
    );
  });
});
