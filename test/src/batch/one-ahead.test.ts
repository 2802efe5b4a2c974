import assert from "node:assert/strict";

import { oneAhead } from "../../../src/batch/one-ahead.js";

describe("one ahead", () => {
  it("begins the next value while the consumer works on one, and none beyond it", async () => {
    let begun = 0;
    async function* source(): AsyncGenerator<number> {
      for (; begun < 4;) yield begun++;
    }
    const seen: [value: number, begun: number][] = [];
    for await (const value of oneAhead(source())) seen.push([value, begun]);
    assert.deepEqual(seen, [
      [0, 2],
      [1, 3],
      [2, 4],
      [3, 4],
    ]);
  });

  it("throws what its source throws when its turn has come, and ends the source when it is left", async () => {
    let ended = false;
    async function* source(): AsyncGenerator<number> {
      try {
        yield 1;
        throw new Error("second");
      } finally {
        ended = true;
      }
    }
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const value of oneAhead(source())) seen.push(value);
    }, /second/);
    assert.deepEqual([seen, ended], [[1], true]);
    ended = false;
    for await (const value of oneAhead(source())) {
      assert.equal(value, 1);
      break;
    }
    assert.ok(ended);
  });
});
