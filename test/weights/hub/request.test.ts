import assert from "node:assert/strict";
import { TransientError } from "../../../weights/hub/connection.js";
import { eachPiece, type HubAnswer } from "../../../weights/hub/request.js";
import { StallWatch } from "../../../weights/hub/stall-watch.js";

/** An answer whose body gives one piece, and then what `then` says. */
function answer(then: (controller: ReadableStreamDefaultController<Uint8Array>) => void): HubAnswer {
  let pieces = 0;
  const body = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      if (pieces++ === 0) controller.enqueue(new Uint8Array(3));
      else then(controller);
    },
  });
  return { response: new Response(body), url: new URL("http://store/x?secret"), hub: new Headers() };
}

describe("weights/hub/request", () => {
  for (const when of ["in the midst of a piece", "while nothing comes"]) {
    it(`a signal that aborts ${when} ends the reading, whatever the engine does`, async () => {
      const outer = new AbortController();
      const watch = new StallWatch(60_000, outer.signal);
      const stop = () => outer.abort(new Error("enough"));
      const reading = eachPiece(
        answer(() => {}), // never again
        watch,
        () => {
          if (when.includes("midst")) stop();
          else setImmediate(stop);
        },
      );
      await assert.rejects(reading, /^Error: enough$/);
      watch.stop();
    });
  }

  it("a body that breaks is transient, and names the host without what follows the path", async () => {
    const watch = new StallWatch(60_000, undefined);
    const broken = answer((controller) => controller.error(new TypeError("terminated", { cause: new Error("reset") })));
    await assert.rejects(
      eachPiece(broken, watch, () => {}),
      (error) => error instanceof TransientError && error.message === "no whole answer from store (reset)",
    );
    const badCertificate = Object.assign(new Error("it has expired"), { code: "CERT_HAS_EXPIRED" });
    const untrusted = answer((controller) => controller.error(new TypeError("x", { cause: badCertificate })));
    await assert.rejects(
      eachPiece(untrusted, watch, () => {}),
      /^WeightsError: http:\/\/store: it has expired \(CERT_HAS_EXPIRED\)$/,
    );
    watch.stop();
  });
});
