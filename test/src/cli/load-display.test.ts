import assert from "node:assert/strict";

import { LoadDisplay } from "../../../src/cli/load-display.js";
import type { ModelProgress } from "../../../src/loading/resolve-model.js";

/** A stream that keeps what is written to it. */
function screen(isTTY: boolean) {
  const written: string[] = [];
  const stream = { isTTY, columns: 120, write: (text: string) => written.push(text) > 0 };
  return { text: () => written.join(""), stream: stream as unknown as NodeJS.WriteStream };
}

const at = (phase: ModelProgress["phase"], megabytes: number): ModelProgress => ({
  phase,
  loadedBytes: megabytes * 1e6,
  totalBytes: 100e6,
});

/** The terminal's sequence that clears a line. */
const CLEAR = "\x1b[2K";

describe("cli/load-display", () => {
  it("shows a bar on a terminal, from what is there already, and takes it away before a note and at the end", () => {
    const { text, stream } = screen(true);
    const display = new LoadDisplay(stream);
    display.show(at("download", 40));
    display.note("a note");
    display.show(at("download", 60));
    display.end();
    assert.match(text(), /downloading .* 40% 40\/100 MB, \? left/);
    assert.ok(text().includes(`${CLEAR}a note\n`), JSON.stringify(text()));
    assert.match(text().split("a note")[1], /downloading .* 60% 60\/100 MB/);
    assert.ok(text().endsWith(CLEAR));
  });

  it("begins a bar of its own for the weights", () => {
    const { text, stream } = screen(true);
    const display = new LoadDisplay(stream);
    display.show(at("download", 100));
    display.show(at("load", 3));
    display.end();
    const [downloading, loading] = text().split(CLEAR);
    assert.match(downloading, /downloading .* 100% /);
    assert.match(loading, /loading .* 3% 3\/100 MB/);
    assert.ok(!loading.includes("downloading") && !loading.includes("left"));
  });

  it("elsewhere writes a line now and then about a download, with the time that is left, and none about loading", () => {
    const { text, stream } = screen(false);
    let now = 0;
    const display = new LoadDisplay(stream, () => now);
    for (let megabytes = 10; megabytes <= 20; megabytes++) {
      display.show(at("download", megabytes));
      now += 2500;
    }
    display.show(at("load", 50));
    display.note("a note");
    display.end();
    assert.equal(
      text(),
      "downloading: 14/100 MB, 4 min left\ndownloading: 18/100 MB, 3 min left\na note\n", // 0.4 MB a second
    );
  });

  it("writes nothing about what is soon done", () => {
    const { text, stream } = screen(false);
    const display = new LoadDisplay(stream, () => 5);
    for (let megabytes = 0; megabytes <= 100; megabytes++) display.show(at("download", megabytes));
    display.end();
    assert.equal(text(), "");
  });
});
