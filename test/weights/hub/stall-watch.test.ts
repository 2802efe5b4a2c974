import assert from "node:assert/strict";
import { TransientError } from "../../../weights/hub/connection.js";
import { StallWatch } from "../../../weights/hub/stall-watch.js";

describe("weights/hub/stall-watch", () => {
  it("aborts after a silence, however long there was something to hear before", async () => {
    const watch = new StallWatch(400, undefined);
    for (const end = performance.now() + 900; performance.now() < end;) {
      watch.heard();
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(watch.signal.aborted, false);
    await new Promise((resolve) => watch.signal.addEventListener("abort", resolve));
    assert.ok(watch.signal.reason instanceof TransientError);
    watch.stop();
  });

  it("aborts where fewer bytes than 1 KiB a second come, however often", async () => {
    const [slow, fast] = [new StallWatch(300, undefined), new StallWatch(300, undefined)];
    for (const end = performance.now() + 700; performance.now() < end && !slow.signal.aborted;) {
      slow.heard(1);
      fast.heard(1000);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(slow.signal.reason instanceof TransientError);
    assert.match(slow.signal.reason.message, /^only \d+ bytes came in 0 s$/);
    assert.equal(fast.signal.aborted, false);
    for (const watch of [slow, fast]) watch.stop();
  });

  it("does not count the time of work aside", async () => {
    const watch = new StallWatch(200, undefined);
    for (let i = 0; i < 4; i++) {
      watch.heard(10);
      await watch.aside(() => new Promise((resolve) => setTimeout(resolve, 100)));
    }
    assert.equal(watch.signal.aborted, false);
    watch.stop();
  });

  it("aborts with the outer signal and its reason, before and after, and lets go of it", () => {
    const outer = new AbortController();
    const watches = [new StallWatch(60_000, outer.signal), new StallWatch(60_000, outer.signal)];
    watches[1].stop();
    outer.abort(new Error("outer"));
    watches.push(new StallWatch(60_000, outer.signal));
    assert.deepEqual(
      watches.map(({ signal }) => signal.reason?.message),
      ["outer", undefined, "outer"],
    );
    for (const watch of watches) watch.stop();
  });
});
