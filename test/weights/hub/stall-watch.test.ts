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
