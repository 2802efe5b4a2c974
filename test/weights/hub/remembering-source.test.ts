import assert from "node:assert/strict";
import { KEPT, LONGEST, PIECE, rememberingSource } from "../../../weights/hub/remembering-source.js";
import { memorySource } from "../../../weights/index.js";
import { counting, randomBytes, randomOf, weightsError } from "../helpers.js";

const bytes = randomBytes(4 * LONGEST, randomOf(5));
const opened = () => {
  const inner = counting(memorySource("file", bytes));
  return { inner, source: rememberingSource(inner) };
};

describe("weights/hub/remembering-source", () => {
  it("gives the bytes of every range, and asks once for those that lie side by side", async () => {
    const { inner, source } = opened();
    for (const [start, end] of [
      [100, 130],
      [130, 150],
      [150, 10_162],
      [100, 100 + PIECE],
    ]) {
      assert.deepEqual(await source.read(start, end), bytes.slice(start, end));
    }
    assert.deepEqual(inner.ranges, [[100, 100 + PIECE]]);
    assert.deepEqual(await source.read(99, 101), bytes.slice(99, 101), "a byte before it is another piece");
    assert.equal(inner.ranges.length, 2);
  });

  it("asks for nothing behind the end, and for a large range as it is, which is not kept", async () => {
    const { inner, source } = opened();
    const { size } = source;
    await source.read(size - 5, size);
    for (let times = 0; times < 2; times++) await source.read(0, LONGEST + 1);
    for (let times = 0; times < 2; times++) await source.read(1, 1 + LONGEST);
    assert.deepEqual(inner.ranges, [
      [size - 5, size],
      [0, LONGEST + 1],
      [0, LONGEST + 1],
      [1, 1 + LONGEST],
    ]);
    await assert.rejects(source.read(size - 5, size + 1), weightsError(/bytes .* were asked for/));
  });

  it("what it hands out is the caller's: writing into it changes no later answer", async () => {
    const { source } = opened();
    for (const end of [8, 8, 6]) (await source.read(0, end)).fill(0);
    assert.deepEqual(await source.read(0, 8), bytes.slice(0, 8));
  });

  it("keeps so many pieces and forgets the oldest", async () => {
    const inner = counting(memorySource("file", new Uint8Array((KEPT + 2) * PIECE)));
    const source = rememberingSource(inner);
    for (let i = 0; i <= KEPT; i++) await source.read(i * PIECE, i * PIECE + 1);
    for (const i of [1, KEPT, 0]) await source.read(i * PIECE, i * PIECE + 1);
    assert.deepEqual(inner.ranges.slice(KEPT + 1), [[0, PIECE]]);
  });
});
