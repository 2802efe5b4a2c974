import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import {
  bytesOf,
  decodeNpy,
  STORED_DTYPES as DTYPES,
  encodeNpy,
  MAX_NPY_HEADER,
  memorySource,
  openFile,
  readNpy,
  toFloat32,
  WeightsError,
  writeNpy,
  type DType,
  type TensorData,
} from "../../weights/index.js";
import { fixtures } from "../parity/reference.js";
import { counting, damaged, f32, randomBytes, randomOf, weightsError, withFolder } from "./helpers.js";

const arrays = join(fixtures, "arrays");
const fixture = async (name: string): Promise<Uint8Array> => new Uint8Array(await readFile(join(arrays, name)));

/** A .npy file with any header text and any data, lies included. */
function npyOf(header: string, data: Uint8Array = new Uint8Array(0), version = 1, length?: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const start = version === 1 ? 10 : 12;
  const bytes = new Uint8Array(start + text.length + data.length);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(bytes.buffer);
  if (version === 1) view.setUint16(8, length ?? text.length, true);
  else view.setUint32(8, length ?? text.length, true);
  bytes.set(text, start);
  bytes.set(data, start + text.length);
  return bytes;
}

const describeArray = (descr: string, shape: string, order = "False") =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }`;
const refused = (bytes: Uint8Array, ...patterns: RegExp[]): void =>
  assert.throws(() => decodeNpy(bytes, "file"), weightsError(/^file/, ...patterns));

describe("weights/npy", () => {
  it("what is written is read back the same, and starts at a multiple of 64", async () => {
    const random = randomOf(3);
    for (const dtype of DTYPES.filter((name) => !name.startsWith("F8_"))) {
      for (const shape of [[], [5], [2, 3], [3, 2, 4], [0], [4, 0, 3], Array(64).fill(1) as number[]]) {
        const size = shape.reduce((product, axis) => product * axis, bytesOf(dtype));
        const tensor = { dtype, shape, data: randomBytes(size, random) };
        const bytes = encodeNpy(tensor);
        assert.equal((bytes.length - size) % 64, 0);
        assert.deepEqual(decodeNpy(bytes, "file", { void2: "BF16" }), tensor);
        assert.deepEqual(await readNpy(memorySource("file", bytes), { void2: "BF16" }), tensor);
      }
    }
  });

  it("is written as NumPy writes it, but for spaces", async () => {
    const values = Uint8Array.of(0x80, 0x3f, 0x20, 0xc0, 0x49, 0x40);
    const written = encodeNpy({ dtype: "BF16", shape: [1, 3], data: values });
    assert.deepEqual(written, await fixture("bfloat16.npy"));
  });

  it("a file is written whole, and a description that does not fit leaves nothing behind", async () => {
    await withFolder({}, async (folder) => {
      const tensor = f32([3, 5], randomOf(1));
      await writeNpy(join(folder, "a.npy"), tensor);
      const source = await openFile(join(folder, "a.npy"));
      const { dtype, shape, data } = await readNpy(source);
      await source.close();
      assert.deepEqual([dtype, shape, toFloat32(data, "F32")], ["F32", [3, 5], tensor.data]);
      await assert.rejects(
        writeNpy(join(folder, "b.npy"), { ...tensor, shape: [3, 6] }),
        weightsError(/b\.npy of F32 \[3,6\] needs 72 bytes, its data has 60/),
      );
      assert.deepEqual(await readdir(folder), ["a.npy"]);
    });
  });

  it("8-bit floats and 65 axes are not written", () => {
    const write = (dtype: DType, shape: number[]) => encodeNpy({ dtype, shape, data: new Uint8Array(1) } as TensorData);
    assert.throws(() => write("F8_E5M2", [1]), weightsError(/F8_E5M2, which NumPy has no type for; use safetensors/));
    assert.throws(() => write("U8", Array(65).fill(1) as number[]), weightsError(/65 axes, an array has at most 64/));
  });

  it("bfloat16, which NumPy saves as two bytes without a meaning, is read when the caller says so", async () => {
    const bytes = await fixture("bfloat16.npy");
    const { dtype, shape, data } = decodeNpy(bytes, "file", { void2: "BF16" });
    assert.deepEqual([dtype, shape, [...toFloat32(data, "BF16")]], ["BF16", [1, 3], [1, -2.5, 3.140625]]);
    refused(bytes, /type '\|V2', two bytes without a meaning; say that it is bfloat16/);
    assert.throws(
      () => decodeNpy(npyOf(describeArray("'>V2'", "()"), new Uint8Array(2)), "file", { void2: "BF16" }),
      weightsError(/'>V2'/),
    );
  });

  it("headers written by other hands are read: double quotes, other spaces, other order, no last comma", () => {
    const data = new Uint8Array(24);
    for (const header of [
      `{"descr":"<f4","fortran_order":False,"shape":(2,3)}`,
      `{ 'shape' : ( 2 , 3 , ) , 'fortran_order' : False ,\n'descr' : '<f4' , }   \n`,
    ]) {
      assert.deepEqual(decodeNpy(npyOf(header, data), "file"), { dtype: "F32", shape: [2, 3], data });
    }
    assert.deepEqual(decodeNpy(npyOf(describeArray("'<f8'", "(3,)"), data, 2), "file").shape, [3]);
  });

  describe("a file is refused", () => {
    it("when it is of another kind, or of a version to come", async () => {
      refused(new TextEncoder().encode("no array at all"), /no \.npy file: its first bytes are \[110,111,32/);
      refused(new Uint8Array(0), /no \.npy file/);
      refused(npyOf(describeArray("'<f4'", "()"), new Uint8Array(4), 4), /version 4\.0, expected 1\.0, 2\.0 or 3\.0/);
    });

    it("when the header's length is a lie, before anything is read for it", async () => {
      refused(npyOf("{}", undefined, 1, 300), /should end at byte 310, it ends at 12; is it cut off/);
      const source = counting(memorySource("file", npyOf("{}", new Uint8Array(50_000), 2, 2 ** 32 - 1)));
      await assert.rejects(readNpy(source), weightsError(/header of 4294967295 bytes, at most 10000 are read/));
      assert.ok(source.bytes() <= MAX_NPY_HEADER + 12);
    });

    it("when the header is no dictionary of the three fields", () => {
      const good = describeArray("'<f4'", "(2, 3)");
      const data = new Uint8Array(24);
      assert.equal(decodeNpy(npyOf(good, data), "file").dtype, "F32");
      for (const bad of [
        "",
        "{",
        "}",
        "{}",
        good.slice(0, -1),
        `${good}}`,
        `${good} 1`,
        `[${good}]`,
        good.replace("'descr'", "'descr_'"),
        good.replace("{", "{'descr': '<f4', "),
        good.replace("{", "{'extra': True, "),
        good.replace("{", "{,"),
        good.replace("False", "0"),
        good.replace("False", "'False'"),
        good.replace("False", "not True"),
        good.replace("'<f4'", "numpy.float32"),
        good.replace("'<f4'", "__import__('os')"),
        good.replace("'<f4'", "'<f4"),
        good.replace("(2, 3)", "(2 3)"),
        good.replace("(2, 3)", "(2,, 3)"),
        good.replace("(2, 3)", "(,)"),
        good.replace("(2, 3)", "(6)"),
        good.replace("(2, 3)", "[2, 3]"),
        good.replace("(2, 3)", "(2, -3)"),
        good.replace("(2, 3)", "(2, 3.0)"),
        good.replace("(2, 3)", "(2, 3"),
        good.replace("(2, 3)", "(2, 0x3)"),
        good.replace("(2, 3)", "(2L, 3L)"),
        good.replace("(2, 3)", "('2', 3)"),
        good.replace(":", ""),
        good.replace(",", ""),
      ]) {
        refused(npyOf(bad, data), /has the \.npy header .*expected one such as/);
      }
    });

    it("when its type holds no numbers that are known, and objects are never unpickled", async () => {
      refused(await fixture("records.npy"), /\.npy header .*an array of records is not read, save its fields apart/);
      refused(await fixture("text.npy"), /type '<U1', expected < or > and one of f2 f4/);
      refused(await fixture("objects.npy"), /type '\|O'.*Python objects are never read/);
      refused(await fixture("complex.npy"), /type '<c16'/);
      for (const descr of [
        "'|f4'",
        "'=f4'",
        "'f4'",
        "'<f16'",
        "'<b2'",
        "'<V4'",
        "''",
        "'<'",
        "'<f4 '",
        "'<constructor'",
      ]) {
        refused(npyOf(describeArray(descr, "()"), new Uint8Array(4)), /has the type/);
      }
    });

    it("when shape and size differ, overflow included", () => {
      const data = new Uint8Array(24);
      refused(npyOf(describeArray("'<f4'", "(2, 2)"), data), /of F32 \[2,2\].*more than one array or is damaged/);
      refused(npyOf(describeArray("'<f4'", "(2, 4)"), data), /should end at byte \d+, it ends at \d+: is it cut off/);
      const huge = [`(${2n ** 32n}, ${2n ** 32n})`, `(${2n ** 53n - 1n},)`];
      for (const shape of huge) refused(npyOf(describeArray("'<f4'", shape), data), /more than can be counted/);
      for (const shape of [`(${2n ** 53n},)`, `(${"9".repeat(400)},)`]) {
        refused(npyOf(describeArray("'<f4'", shape), data), /\.npy header/);
      }
      refused(npyOf(describeArray("'<f4'", `(${"1, ".repeat(65)})`), new Uint8Array(4)), /65 axes.*at most 64/);
    });

    it("wherever it is cut, and gives what it describes or a WeightsError however it is damaged", async () => {
      const whole = encodeNpy(f32([3, 5], randomOf(8)));
      for (let end = 0; end < whole.length; end++) refused(whole.subarray(0, end));
      const random = randomOf(9);
      for (let round = 0; round < 3000; round++) {
        const bytes = damaged(whole, random);
        try {
          const { dtype, shape, data } = decodeNpy(bytes, "file", { void2: "BF16" });
          assert.equal(
            data.length,
            shape.reduce((product, axis) => product * axis, bytesOf(dtype)),
          );
        } catch (error) {
          assert.ok(error instanceof WeightsError, String(error));
        }
      }
    });

    it("whatever stands where the header should be", () => {
      const pieces = [
        "{",
        "}",
        "'descr'",
        ":",
        "'<f4'",
        ",",
        "'fortran_order'",
        "False",
        "'shape'",
        "(",
        ")",
        "2",
        " ",
        "'",
      ];
      const text = fc.oneof(
        fc.array(fc.constantFrom(...pieces)).map((parts) => parts.join("")),
        fc.string(),
      );
      fc.assert(
        fc.property(text, (header) => {
          assert.throws(() => decodeNpy(npyOf(header), "file"), WeightsError);
        }),
        { numRuns: 500 },
      );
    });
  });

  it("a long header without sense is refused in no time", () => {
    const before = performance.now();
    for (const piece of [" ", "'", "(", "{", "',", "1,", "\\"]) {
      refused(npyOf(`{${piece.repeat(MAX_NPY_HEADER / 2 - 1)}`), /\.npy header/);
    }
    assert.ok(performance.now() - before < 1000);
  });
});
