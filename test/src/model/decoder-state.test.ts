import assert from "node:assert/strict";

import { DecoderState } from "../../../src/model/decoder-state.js";

describe("the decoder's state", () => {
  it("copies no keys and values where the rows that go on are those that are there, in their order", () => {
    const state = new DecoderState(3);
    state.extend([[1], [1], [0]], [[0], [1], [0]]);
    const copied: string[] = [];
    for (const cache of state.layers) cache.selectRows = (rows) => void copied.push(rows.join());
    const copies = (rows: number[]) => {
      copied.length = 0;
      state.selectRows(rows);
      return copied;
    };
    assert.deepEqual(copies([0, 1, 2]), []);
    assert.deepEqual(state.attentionMask, [[1], [1], [0]]);
    assert.deepEqual(copies([1, 0, 2]), ["1,0,2", "1,0,2", "1,0,2"]);
    assert.deepEqual(state.tokenTypes, [[1], [0], [0]]);
    assert.equal(copies([0, 1, 2, 2]).length, 3, "one row more");
    assert.equal(copies([0, 1]).length, 3, "rows less");
    assert.deepEqual(state.attentionMask, [[1], [1]]);
  });
});
