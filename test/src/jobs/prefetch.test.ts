import assert from "node:assert/strict";

import { oneAhead } from "../../../src/jobs/prefetch.js";

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

  it("throws what its source throws when its turn has come", async () => {
    async function* source(): AsyncGenerator<number> {
      yield 1;
      throw new Error("second");
    }
    const seen: number[] = [];
    await assert.rejects(async () => {
      for await (const value of oneAhead(source())) seen.push(value);
    }, /second/);
    assert.deepEqual(seen, [1]);
  });

  it("ends the source when it is left, and throws nothing that nobody has asked for", async () => {
    let ended = false;
    async function* endless(): AsyncGenerator<number> {
      try {
        for (let i = 0; ; i++) yield i;
      } finally {
        ended = true;
      }
    }
    for await (const value of oneAhead(endless())) if (value === 2) break;
    assert.ok(ended);
    async function* broken(): AsyncGenerator<number> {
      yield 1;
      throw new Error("second");
    }
    for await (const value of oneAhead(broken())) {
      assert.equal(value, 1);
      break;
    }
  });
});
