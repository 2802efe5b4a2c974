import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Writable } from "node:stream";

import { hasEnded, isOfEnded, markName, thisProcess } from "../../weights/process-mark.js";

const linux = process.platform === "linux";

/** A process of this machine that has ended and was reaped. */
async function ended(): Promise<number> {
  const child = spawn(process.execPath, ["-e", ""]);
  await new Promise((resolve) => child.on("exit", resolve));
  return child.pid!;
}

describe("weights/process-mark", () => {
  it("a living process has not ended, one whose number is free has", async () => {
    const own = thisProcess();
    assert.equal(hasEnded(own), false);
    assert.equal(hasEnded({ pid: process.ppid, host: own.host }), false);
    assert.equal(hasEnded({ ...own, pid: await ended(), start: "" }), true);
  });

  it("a number that another process has taken again is that of one that has ended", function () {
    if (!linux) this.skip(); // elsewhere the system does not say when a process began
    const own = thisProcess();
    assert.match(own.start, /^[0-9a-f]{8}[0-9a-z]+$/);
    assert.equal(hasEnded({ ...own, start: `${own.start}0` }), true);
    assert.equal(hasEnded({ ...own, start: "" }), false, "where nothing is said of the start, the number decides");
  });

  it("one of another machine or of another space of numbers is not judged, free as its number may be", async () => {
    const own = thisProcess();
    const pid = await ended();
    assert.equal(hasEnded({ ...own, pid, host: "elsewhere" }), false);
    assert.equal(hasEnded({ ...own, pid, space: "pid:[1]" }), false);
  });

  it("one that only waits to be reaped has ended", async function () {
    if (!linux) this.skip();
    // A shell that becomes a program which never asks for its child's end; the child lives until descriptor 3 is
    // closed.
    const command = "cat <&3 >/dev/null & echo $!; exec sleep 20";
    const parent = spawn("sh", ["-c", command], { stdio: ["ignore", "pipe", "ignore", "pipe"] });
    const turn = () => new Promise((resolve) => setImmediate(resolve));
    try {
      const pid = Number(
        await new Promise<string>((resolve) => parent.stdout!.on("data", (text) => resolve(`${text}`))),
      );
      const mark = { ...thisProcess(), pid, start: "" };
      while (readFileSync(`/proc/${parent.pid}/comm`, "latin1") !== "sleep\n") await turn();
      assert.equal(hasEnded(mark), false);
      (parent.stdio[3] as Writable).end();
      while (!hasEnded(mark)) await turn();
      assert.doesNotThrow(() => process.kill(pid, 0), "its number is still taken");
    } finally {
      parent.kill();
    }
  });

  it("as a part of a file's name says the same", async () => {
    const own = thisProcess();
    const gone = { ...own, pid: await ended() };
    assert.equal(isOfEnded(markName(own)), false);
    assert.equal(isOfEnded(markName(gone)), true);
    assert.equal(isOfEnded(markName({ ...gone, start: "" })), true);
    assert.equal(isOfEnded(markName({ ...gone, space: "pid:[1]" })), false);
    assert.equal(isOfEnded(markName({ ...gone, host: "elsewhere" })), false);
    for (const other of [String(gone.pid), `${markName(gone)}x`, "notes.txt", ""])
      assert.equal(isOfEnded(other), false);
    if (linux) assert.equal(isOfEnded(markName({ ...own, start: "0123abcd9" })), true);
  });
});
