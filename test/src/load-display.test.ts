import assert from "node:assert/strict";

import { LoadDisplay } from "../../src/cli/load-display.js";
import type { ModelProgress } from "../../src/model-place.js";

/** A stream that keeps what is written to it. */
function screen(isTTY: boolean) {
  const written: string[] = [];
  const stream = {
    isTTY,
    columns: 120,
    write: (text: string) => written.push(text) > 0,
    cursorTo: () => true,
    clearLine: () => true,
    moveCursor: () => true,
    on: () => {},
    removeListener: () => {},
  };
  return { written, stream: stream as unknown as NodeJS.WriteStream };
}

const at = (phase: ModelProgress["phase"], megabytes: number): ModelProgress => ({
  phase,
  loadedBytes: megabytes * 1e6,
  totalBytes: 100e6,
});

describe("cli/load-display", () => {
  it("shows a bar for each phase on a terminal, from what is there already, and notes between", () => {
    const { written, stream } = screen(true);
    const display = new LoadDisplay(stream);
    display.show(at("download", 40));
    display.show(at("download", 100));
    display.note("a note");
    display.show(at("load", 3));
    display.end();
    const text = written.join("");
    assert.match(text, /downloading .*40% 40\/100 MB/s);
    assert.match(text, /a note\n.*loading .* \d+% \d+\/100 MB/s);
    assert.ok(text.indexOf("a note") < text.indexOf("loading", text.indexOf("a note")));
  });

  it("writes no bar elsewhere, and nothing about what is soon done", () => {
    const { written, stream } = screen(false);
    const display = new LoadDisplay(stream);
    for (let i = 0; i <= 100; i++) display.show(at("download", i));
    display.show(at("load", 50));
    display.end();
    assert.deepEqual(written, []);
    display.note("a note");
    assert.deepEqual(written, ["a note\n"]);
  });
});
