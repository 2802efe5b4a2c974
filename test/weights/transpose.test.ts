import assert from "node:assert/strict";
import fc from "fast-check";
import { readTransposed } from "../../weights/transpose.js";
import { weightsError } from "./helpers.js";

type Asked = [start: number, end: number][];

/** Bytes 0, 1, 2... of values, and a note of what is asked of them. */
function source(size: number): {
  bytes: Uint8Array;
  read: (s: number, e: number) => Promise<Uint8Array>;
  asked: Asked;
} {
  const bytes = Uint8Array.from({ length: size }, (_, i) => (i * 167 + (i >> 8)) & 255);
  const asked: Asked = [];
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    asked.push([start, end]);
    // At any offset of its buffer, as a view of a larger piece would be.
    const piece = new Uint8Array(end - start + 3).subarray(3);
    piece.set(bytes.subarray(start, end));
    return piece;
  };
  return { bytes, read, asked };
}

/** The definition: value by value, by its index. */
function slowly(bytes: Uint8Array, shape: readonly number[], order: readonly number[], width: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  const count = bytes.length / width;
  for (let at = 0; at < count; at++) {
    const index = shape.map((size, axis) => Math.floor(at / shape.slice(axis + 1).reduce((a, b) => a * b, 1)) % size);
    const to = order.reduce((sum, axis) => sum * shape[axis] + index[axis], 0);
    out.set(bytes.subarray(at * width, (at + 1) * width), to * width);
  }
  return out;
}

describe("weights/transpose", () => {
  const shapes = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 });
  const cases = shapes.chain((shape) =>
    fc.record({
      shape: fc.constant(shape),
      order: fc.shuffledSubarray([...shape.keys()], { minLength: shape.length }),
      width: fc.constantFrom(1, 2, 4, 8),
      pieceBytes: fc.integer({ min: 1, max: 400 }),
    }),
  );

  it("any order of any axes is that of the definition, whatever the pieces, which come once each and in order", async () => {
    const property = fc.asyncProperty(cases, async ({ shape, order, width, pieceBytes }) => {
      const { bytes, read, asked } = source(shape.reduce((a, b) => a * b, width));
      let heard = 0;
      const given = { shape, order, width, where: "array" };
      const result = await readTransposed(read, given, (count) => (heard += count), pieceBytes);
      assert.deepEqual(result, slowly(bytes, shape, order, width));
      assert.equal(heard, bytes.length);
      assert.deepEqual(
        asked.map(([start]) => start),
        [0, ...asked.slice(0, -1).map(([, end]) => end)],
      );
      assert.equal(asked.at(-1)![1], bytes.length);
    });
    await fc.assert(property, { numRuns: 300, seed: 6 });
  });

  for (const [shape, order] of [
    [
      [70, 33],
      [1, 0],
    ],
    [
      [3, 40, 65],
      [0, 2, 1],
    ],
    [
      [3, 40, 65],
      [2, 0, 1],
    ],
    [
      [5, 5, 3, 48],
      [3, 2, 0, 1],
    ],
  ]) {
    it(`[${shape}] in the order (${order}) crosses the edges of blocks and pieces`, async () => {
      for (const pieceBytes of [1, 3000, 2 ** 24]) {
        const { bytes, read } = source(shape.reduce((a, b) => a * b, 2));
        const result = await readTransposed(read, { shape, order, width: 2, where: "array" }, () => {}, pieceBytes);
        assert.deepEqual(result, slowly(bytes, shape, order, 2));
      }
    });
  }

  it("an array without values is read without a question", async () => {
    const { read, asked } = source(0);
    const given = { shape: [3, 0, 2], order: [1, 0, 2], width: 4, where: "array" };
    assert.equal((await readTransposed(read, given, () => {})).length, 0);
    assert.deepEqual(asked, []);
  });

  it("an array that no memory holds is refused before it is read", async () => {
    const { read, asked } = source(0);
    const given = { shape: [2 ** 30, 2 ** 20], order: [1, 0], width: 4, where: 'file: array "w"' };
    await assert.rejects(
      readTransposed(read, given, () => {}),
      weightsError(/^file: array "w": no room in memory/),
    );
    assert.deepEqual(asked, []);
  });
});
