import assert from "node:assert/strict";
import { type ArrayPart, entriesOf, partOf, type StoredArray } from "../../weights/array-part.js";
import { isPlaced } from "../../weights/checkpoint-entry.js";
import { weightsError } from "./helpers.js";

/** An array [2, 3, 4] of bytes 0 to 23 that notes what is read of it. */
function array(more: Partial<StoredArray> = {}): StoredArray & { ranges: string[] } {
  const ranges: string[] = [];
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    ranges.push(`${start}..${end}`);
    await Promise.resolve();
    return Uint8Array.from({ length: end - start }, (_, i) => start + i);
  };
  return { name: "w", file: "file", dtype: "U8", shape: [2, 3, 4], place: 100, read, ranges, ...more };
}
const part = (index: number[], axes: number[][]): ArrayPart => ({ array: "w", index, axes });
async function bytesOf(stored: StoredArray, wanted: ArrayPart): Promise<number[]> {
  const entry = partOf(stored, wanted);
  assert.ok(!isPlaced(entry));
  return [...(await entry.read(() => {}))];
}

describe("weights/array-part", () => {
  it("a part whose values lie in order is placed where they lie", () => {
    const whole = partOf(array(), part([], [[0], [1, 2]]));
    assert.deepEqual(whole, { name: "w", file: "file", dtype: "U8", shape: [2, 12], start: 100, end: 124 });
    const row = partOf(array(), part([1, 2], [[0]]));
    assert.deepEqual(row, { name: "w[1, 2]", file: "file", dtype: "U8", shape: [4], start: 120, end: 124 });
  });

  it("a part of other order is composed, and so is every part where nothing lies in the file as it is", async () => {
    const turned = partOf(array(), part([1], [[1], [0]]));
    assert.deepEqual([turned.name, turned.shape], ["w[1]", [4, 3]]);
    assert.deepEqual(await bytesOf(array(), part([1], [[1], [0]])), [12, 16, 20, 13, 17, 21, 14, 18, 22, 15, 19, 23]);
    assert.deepEqual(await bytesOf(array({ place: null }), part([0, 1], [[0]])), [4, 5, 6, 7]);
    const joined = partOf(array(), part([], [[2], [0, 1]]));
    assert.deepEqual(joined.shape, [4, 6]);
  });

  it("a part that the array has not got is refused", () => {
    for (const wanted of [part([2], [[0], [1]]), part([0, 3], [[0]]), part([0], [[0]]), part([], [[0], [1]])]) {
      assert.throws(() => partOf(array(), wanted), weightsError(/^file: array "w" is \[2,3,4\], expected \d axes/));
    }
  });

  it("what no part speaks of is listed, and what the parts leave over is refused", () => {
    const arrays = new Map([
      ["w", array()],
      ["x", array({ name: "x" })],
    ]);
    const [first, second] = [part([0], [[0], [1]]), part([1], [[0], [1]])];
    const entries = entriesOf(
      arrays,
      new Map([
        ["a", first],
        ["b", second],
        ["c", { ...first, array: "none" }],
      ]),
    );
    assert.deepEqual([...entries.keys()], ["a", "b", "x"]);
    assert.throws(() => entriesOf(arrays, new Map([["a", first]])), weightsError(/of whose 24 values 12 are known/));
    assert.throws(
      () =>
        entriesOf(
          arrays,
          new Map([
            ["a", first],
            ["b", second],
            ["c", second],
          ]),
        ),
      weightsError(/of whose 24 values 36 are known/),
    );
  });

  it("readers of one array wait for each other where going back is dear", async () => {
    let last: Promise<unknown> = Promise.resolve();
    const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
      const next = last.then(run);
      last = next;
      return next;
    };
    let busy = 0;
    const plain = array();
    const read = async (start: number, end: number): Promise<Uint8Array> => {
      assert.equal(busy++, 0, "one at a time");
      const bytes = await plain.read(start, end);
      busy--;
      return bytes;
    };
    const stored = array({ place: null, inTurn, read });
    const both = await Promise.all([bytesOf(stored, part([0], [[1], [0]])), bytesOf(stored, part([1], [[1], [0]]))]);
    assert.equal(both.flat().length, 24);
    assert.deepEqual(plain.ranges, ["0..12", "12..24"]);
  });
});
