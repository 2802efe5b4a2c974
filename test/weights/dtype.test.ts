import assert from "node:assert/strict";
import { bytesOf, fromFloat32, STORED_DTYPES as DTYPES, toFloat32, toInt32 } from "../../weights/index.js";
import { randomBytes, randomOf, weightsError } from "./helpers.js";

/**
 * A value by the definition of an IEEE-like format, in doubles: slow, and nothing in common with the code under test.
 */
function valueOf(bits: number, exponentBits: number, fractionBits: number): number {
  const sign = bits >= 2 ** (exponentBits + fractionBits) ? -1 : 1;
  const exponent = Math.floor(bits / 2 ** fractionBits) % 2 ** exponentBits;
  const fraction = (bits % 2 ** fractionBits) / 2 ** fractionBits;
  const bias = 2 ** (exponentBits - 1) - 1;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN;
  if (exponent === 0) return sign * fraction * 2 ** (1 - bias);
  return sign * (1 + fraction) * 2 ** (exponent - bias);
}

const allPatterns = (): Uint16Array => Uint16Array.from({ length: 65536 }, (_, bits) => bits);
const bytesOfArray = (values: ArrayBufferView): Uint8Array =>
  new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
const FORMATS = { F16: [5, 10], BF16: [8, 7] } as const;

describe("weights/dtype", () => {
  for (const dtype of ["F16", "BF16"] as const) {
    const [exponentBits, fractionBits] = FORMATS[dtype];

    it(`all 65536 ${dtype} patterns widen to their exact value`, () => {
      const wide = toFloat32(bytesOfArray(allPatterns()), dtype);
      for (let bits = 0; bits < 65536; bits++) {
        const expected = valueOf(bits, exponentBits, fractionBits);
        assert.ok(
          Object.is(wide[bits], expected),
          `${dtype} ${bits.toString(16)}: ${wide[bits]}, expected ${expected}`,
        );
      }
    });

    it(`${dtype} NaNs keep sign and payload when widened`, () => {
      const wide = new Uint32Array(toFloat32(bytesOfArray(allPatterns()), dtype).buffer);
      for (let bits = 0; bits < 65536; bits++) {
        if (!Number.isNaN(valueOf(bits, exponentBits, fractionBits))) continue;
        const fraction = (bits % 2 ** fractionBits) * 2 ** (23 - fractionBits);
        assert.equal(wide[bits], (bits >= 32768 ? 2 ** 31 : 0) + 0x7f800000 + fraction);
      }
    });

    it(`every ${dtype} value survives widening and narrowing`, () => {
      const patterns = allPatterns();
      const back = new Uint16Array(fromFloat32(toFloat32(bytesOfArray(patterns), dtype), dtype).buffer);
      for (let bits = 0; bits < 65536; bits++) {
        if (!Number.isNaN(valueOf(bits, exponentBits, fractionBits))) assert.equal(back[bits], bits);
        else assert.ok(Number.isNaN(valueOf(back[bits], exponentBits, fractionBits)));
      }
    });

    it(`narrowing to ${dtype} takes the nearest value, and the even one of two`, () => {
      const random = randomOf(7);
      const infinity = (2 ** exponentBits - 1) * 2 ** fractionBits;
      const inputs: number[] = [];
      const expected: number[] = [];
      // Between neighbours: the middle is a tie; a step of f32 to either side is not. What follows the largest finite
      // value is "one step more": from its middle on, values become infinite.
      for (let bits = 0; bits < infinity; bits++) {
        const low = valueOf(bits, exponentBits, fractionBits);
        const step = valueOf(Math.max(bits, 2 ** fractionBits), exponentBits, fractionBits);
        const ulp = 2 ** (Math.floor(Math.log2(step)) - fractionBits);
        const middle = low + ulp / 2;
        if (Math.fround(middle) !== middle) continue; // below f32's own subnormals there is no middle to test
        const off = ulp * 2 ** -8 * (1 + Math.floor(random() * 100));
        inputs.push(low, middle, middle - off, middle + off);
        expected.push(bits, bits % 2 === 0 ? bits : bits + 1, bits, bits + 1);
      }
      const values = Float32Array.from([...inputs, ...inputs.map((x) => -x)]);
      const narrow = new Uint16Array(fromFloat32(values, dtype).buffer);
      const wanted = [...expected, ...expected.map((bits) => bits + 32768)];
      const wrong = wanted.findIndex((bits, i) => narrow[i] !== bits);
      assert.ok(inputs.length > 100_000);
      assert.equal(wrong, -1, `${values[wrong]} became ${narrow[wrong]}, expected ${wanted[wrong]}`);
    });
  }

  it("values far outside f16 become infinite or zero, and NaN stays NaN", () => {
    const narrow = new Uint16Array(
      fromFloat32(Float32Array.of(1e30, -1e30, 65519, 65520, 1e-30, -1e-30, NaN), "F16").buffer,
    );
    assert.deepEqual([...narrow], [0x7c00, 0xfc00, 0x7bff, 0x7c00, 0, 0x8000, 0x7e00]);
    // NaNs whose payload is in the lost bits
    const low = new Float32Array(Uint32Array.of(0x7f800001, 0xffffffff).buffer);
    assert.deepEqual([...new Uint16Array(fromFloat32(low, "BF16").buffer)], [0x7fc0, 0xffff]);
  });

  it("bytes at any offset are read alike, and results do not share them", () => {
    const random = randomOf(3);
    for (const dtype of ["F32", "F16", "BF16"] as const) {
      const bytes = randomBytes(24, random);
      const expected = new Uint32Array(toFloat32(bytes, dtype).buffer);
      for (let offset = 0; offset < 5; offset++) {
        const shifted = new Uint8Array(32);
        shifted.set(bytes, offset);
        const view = shifted.subarray(offset, offset + 24);
        const values = toFloat32(view, dtype);
        view.fill(0);
        assert.deepEqual(new Uint32Array(values.buffer), expected);
      }
    }
  });

  it("integers of every width become int32", () => {
    const cases = {
      I64: BigInt64Array.of(-(2n ** 31n), -1n, 0n, 5n, 2n ** 31n - 1n),
      I32: Int32Array.of(-(2 ** 31), -1, 0, 5, 2 ** 31 - 1),
      I16: Int16Array.of(-32768, -1, 0, 32767),
      I8: Int8Array.of(-128, -1, 0, 127),
      U64: BigUint64Array.of(0n, 5n, 2n ** 31n - 1n),
      U32: Uint32Array.of(0, 5, 2 ** 31 - 1),
      U16: Uint16Array.of(0, 65535),
      U8: Uint8Array.of(0, 255),
      BOOL: Uint8Array.of(0, 1, 1),
    };
    for (const [dtype, values] of Object.entries(cases)) {
      const expected = Array.from(values as ArrayLike<number | bigint>, Number);
      assert.deepEqual([...toInt32(bytesOfArray(values), dtype as keyof typeof cases)], expected, dtype);
      const shifted = new Uint8Array(values.byteLength + 3);
      shifted.set(bytesOfArray(values), 3);
      assert.deepEqual([...toInt32(shifted.subarray(3), dtype as keyof typeof cases)], expected, dtype);
    }
  });

  it("integers outside int32 and odd BOOLs are refused with their index", () => {
    const outside = weightsError(/value 1 of a [IU]\d+ tensor is outside/);
    for (const far of [2n ** 31n, -(2n ** 31n) - 1n, 2n ** 32n, 2n ** 62n, -(2n ** 63n)]) {
      assert.throws(() => toInt32(bytesOfArray(BigInt64Array.of(7n, far)), "I64"), outside);
    }
    for (const far of [2n ** 31n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 64n - 1n]) {
      assert.throws(() => toInt32(bytesOfArray(BigUint64Array.of(7n, far)), "U64"), outside);
    }
    assert.throws(() => toInt32(bytesOfArray(Uint32Array.of(7, 2 ** 31)), "U32"), outside);
    assert.throws(() => toInt32(Uint8Array.of(0, 1, 2), "BOOL"), weightsError(/value 2 of a BOOL tensor is 2/));
  });

  it("types that cannot be read exactly are refused in words", () => {
    assert.throws(() => toFloat32(new Uint8Array(8), "F64"), weightsError(/F64.*not be exact.*F32/));
    assert.throws(() => toFloat32(new Uint8Array(8), "F8_E4M3"), weightsError(/F8_E4M3 \(8-bit float\)/));
    assert.throws(() => toFloat32(new Uint8Array(8), "I32"), weightsError(/I32 tensor cannot be read as floats/));
    for (const dtype of ["F32", "BF16", "F16"] as const) {
      assert.throws(() => toInt32(new Uint8Array(8), dtype), weightsError(/cannot be read as integers/));
    }
  });

  it("a length that is no whole number of values is refused", () => {
    for (const dtype of DTYPES.filter((name) => bytesOf(name) > 1 && name !== "F64")) {
      const read = dtype.includes("F") ? toFloat32 : toInt32;
      assert.throws(() => read(new Uint8Array(2 * bytesOf(dtype) - 1), dtype), weightsError(/no whole number/), dtype);
    }
  });
});
