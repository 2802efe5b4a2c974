import assert from "node:assert/strict";
import { cast, castPieces } from "../../weights/cast.js";
import { fromFloat32, type FloatDType, toFloat32 } from "../../weights/index.js";
import { randomOf, weightsError } from "./helpers.js";

const TYPES = ["F32", "F16", "BF16"] as const;
const random = randomOf(77);
const values = Float32Array.from({ length: 1001 }, () => (random() * 2 - 1) * 2 ** (random() * 20 - 10));
const bytes = (dtype: FloatDType): Uint8Array => fromFloat32(values, dtype);
async function joined(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const list: Uint8Array[] = [];
  for await (const piece of pieces) list.push(piece);
  return new Uint8Array(Buffer.concat(list));
}
async function* cut(whole: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size);
}

describe("weights/cast", () => {
  it("rounds once, to the nearest and ties to even, from any type to any", () => {
    for (const from of TYPES) {
      for (const to of TYPES) {
        const expected = from === to ? bytes(from) : fromFloat32(toFloat32(bytes(from), from), to);
        assert.deepEqual(cast(bytes(from), from, to, "t"), expected, `${from} to ${to}`);
      }
    }
    const ties = fromFloat32(Float32Array.of(1 + 2 ** -8, 1 + 3 * 2 ** -8), "F32");
    assert.deepEqual([...toFloat32(cast(ties, "F32", "BF16", "t"), "BF16")], [1, 1 + 2 ** -6]);
  });

  it("gives the same in pieces as at once, at any offset", async () => {
    for (const size of [4, 12, 4096]) {
      const pieces = castPieces(cut(bytes("F32"), size), ["F32", "BF16"], "t");
      assert.deepEqual(await joined(pieces), cast(bytes("F32"), "F32", "BF16", "t"));
    }
    await assert.rejects(
      joined(castPieces(cut(bytes("F32"), 6), ["F32", "F16"], "t")),
      weightsError(/^t: a piece of 6 bytes/),
    );
  });

  it("a value beyond float16 is refused with itself, and infinities and NaN stay", () => {
    const large = (value: number): Uint8Array => fromFloat32(Float32Array.of(1, value), "F32");
    for (const value of [65520, -70000, 3e38]) {
      const message = new RegExp(`^t has the value ${String(Math.fround(value)).replace("+", "\\+")}, beyond float16`);
      assert.throws(() => cast(large(value), "F32", "F16", "t"), weightsError(message));
    }
    for (const value of [65504, 65519, Infinity, -Infinity, NaN]) cast(large(value), "F32", "F16", "t");
    cast(large(3e38), "F32", "BF16", "t");
  });
});
