import assert from "node:assert/strict";
import { mkdir, open, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import {
  bytesOf,
  STORED_DTYPES as DTYPES,
  encodeSafetensors,
  MAX_HEADER_BYTES,
  MAX_TENSORS,
  memorySource,
  openFile,
  readHeader,
  toFloat32,
  toInt32,
  WeightsError,
  writeSafetensors,
  type ByteSource,
  type SafetensorsHeader,
  type TensorData,
} from "../../weights/index.js";
import { counting, f32, fileOf, randomBytes, randomOf, weightsError, withFolder } from "./helpers.js";

const headerOf = (bytes: Uint8Array): Promise<SafetensorsHeader> => readHeader(memorySource("file", bytes));
const refused = (bytes: Uint8Array, ...patterns: RegExp[]): Promise<void> =>
  assert.rejects(headerOf(bytes), weightsError(/^file: /, ...patterns));
/** The header text of one f32 tensor "a", with some fields replaced. */
const one = (fields: object = {}): object => ({ a: { dtype: "F32", shape: [2, 3], data_offsets: [0, 24], ...fields } });

/**
 * Every type, shapes of every rank with unequal axes, an empty tensor, and names that are awkward in JavaScript or
 * JSON.
 */
function manyTensors(seed: number): Map<string, TensorData> {
  const random = randomOf(seed);
  const shapes = [[], [1], [5], [2, 3], [3, 2], [7, 1, 2], [2, 3, 4, 5], [0], [4, 0, 3]];
  const names = ["__proto__", "constructor", "10", "2", 'a "quoted" \\ name', "é\u2028\u{1f600}", ""];
  const tensors = new Map<string, TensorData>();
  [...DTYPES, ...DTYPES].forEach((dtype, i) => {
    const shape = shapes[Math.floor(random() * shapes.length)];
    const size = shape.reduce((product, axis) => product * axis, bytesOf(dtype));
    tensors.set(names[i] ?? `tensor.${i}.weight`, { dtype, shape, data: randomBytes(size, random) });
  });
  return tensors;
}

async function expectSame(source: ByteSource, tensors: Map<string, TensorData>): Promise<void> {
  const header = await readHeader(source);
  assert.deepEqual([...header.tensors.keys()].sort(), [...tensors.keys()].sort());
  for (const [name, { dtype, shape, data }] of tensors) {
    const entry = header.tensors.get(name)!;
    assert.equal(entry.name, name);
    assert.equal(entry.dtype, dtype);
    assert.deepEqual(entry.shape, shape);
    assert.deepEqual(await source.read(entry.start, entry.end), data);
  }
}

// Written by safetensors 0.8.0 (Python):
//   save({"half": torch.tensor([[1.5, -2.0, 6e-8]], dtype=torch.float16),
//         "brain": torch.tensor([3.0, -0.1], dtype=torch.bfloat16),
//     "ids": torch.tensor([[-1], [7]], dtype=torch.int64), "flags": torch.tensor([True, False, True]),
//     "é": torch.tensor(0.25), "none": torch.zeros(0, 3)}, {"format": "pt"})
const FROM_PYTHON = [
  "iAEAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJwdCJ9LCJpZHMiOnsiZHR5cGUiOiJJNjQiLCJzaGFwZSI6WzIsMV0sImRhdGFfb2",
  "Zmc2V0cyI6WzAsMTZdfSwibm9uZSI6eyJkdHlwZSI6IkYzMiIsInNoYXBlIjpbMCwzXSwiZGF0YV9vZmZzZXRzIjpbMTYsMTZdfSwiw6kiOnsi",
  "ZHR5cGUiOiJGMzIiLCJzaGFwZSI6W10sImRhdGFfb2Zmc2V0cyI6WzE2LDIwXX0sImJyYWluIjp7ImR0eXBlIjoiQkYxNiIsInNoYXBlIjpbMl",
  "0sImRhdGFfb2Zmc2V0cyI6WzIwLDI0XX0sImhhbGYiOnsiZHR5cGUiOiJGMTYiLCJzaGFwZSI6WzEsM10sImRhdGFfb2Zmc2V0cyI6WzI0LDMw",
  "XX0sImZsYWdzIjp7ImR0eXBlIjoiQk9PTCIsInNoYXBlIjpbM10sImRhdGFfb2Zmc2V0cyI6WzMwLDMzXX19ICAgICAgIP//////////BwAAAA",
  "AAAAAAAIA+QEDNvQA+AMABAAEAAQ==",
].join("");

describe("weights/safetensors", () => {
  describe("what is written", () => {
    it("is read back the same: every type, shapes of every rank, awkward names", async () => {
      for (let seed = 1; seed <= 20; seed++) {
        const tensors = manyTensors(seed);
        await expectSame(memorySource("file", encodeSafetensors(tensors)), tensors);
      }
    });

    it("is the same from writeSafetensors as from encodeSafetensors, and nothing else is left in the folder", async () => {
      await withFolder({}, async (folder) => {
        const tensors = manyTensors(5);
        await writeSafetensors(join(folder, "x.safetensors"), tensors, { a: "b" });
        const file = new Uint8Array(await readFile(join(folder, "x.safetensors")));
        assert.deepEqual(file, encodeSafetensors(tensors, { a: "b" }));
        assert.deepEqual(await readdir(folder), ["x.safetensors"]);
      });
    });

    it("keeps metadata, names like __proto__ included", async () => {
      const metadata = JSON.parse('{"format":"pt","__proto__":"own","7":"ü"}') as Record<string, string>;
      const header = await headerOf(encodeSafetensors(new Map(), metadata));
      assert.deepEqual(Object.entries(header.metadata), Object.entries(metadata));
      assert.equal(({} as Record<string, unknown>).own, undefined);
      assert.deepEqual((await headerOf(encodeSafetensors(new Map()))).metadata, {});
    });

    it("has its data at a multiple of 8 and each tensor at a multiple of its width", async () => {
      const { tensors, dataStart } = await headerOf(encodeSafetensors(manyTensors(9), { odd: "length" }));
      assert.equal(dataStart % 8, 0);
      for (const { start, dtype } of tensors.values()) assert.equal(start % bytesOf(dtype), 0);
    });

    it("takes typed arrays of the matching type, views of larger ones too", async () => {
      const values = Float32Array.of(9, 1, 2, 3, 9).subarray(1, 4);
      const bytes = encodeSafetensors(new Map([["a", { dtype: "F32", shape: [3], data: values }]]));
      const { start, end } = (await headerOf(bytes)).tensors.get("a")!;
      assert.deepEqual(toFloat32(bytes.subarray(start, end), "F32"), Float32Array.of(1, 2, 3));
    });

    it("is refused when bytes and description differ", () => {
      const encode = (tensor: object, name = "a") => encodeSafetensors(new Map([[name, tensor as TensorData]]));
      const data = new Float32Array(6);
      assert.throws(
        () => encode({ dtype: "F32", shape: [7], data }),
        weightsError(/"a" of F32 \[7\] needs 28 bytes.*24/),
      );
      assert.throws(() => encode({ dtype: "I32", shape: [6], data }), weightsError(/"a" is I32.*Float32Array/));
      assert.throws(
        () => encode({ dtype: "F33", shape: [6], data }),
        weightsError(/dtype "F33", expected one of F64 F32/),
      );
      assert.throws(() => encode({ dtype: "F32", shape: [-6], data }), weightsError(/shape \[-6\]/));
      assert.throws(() => encode({ dtype: "F32", shape: [6], data }, "__metadata__"), weightsError(/keeps for itself/));
      assert.throws(
        () => encodeSafetensors(new Map(), { a: 1 } as unknown as Record<string, string>),
        weightsError(/expected an object of strings/),
      );
    });

    it("leaves an older file alone and no part of a new one when writing fails", async () => {
      await withFolder({ "old.safetensors": "old" }, async (folder) => {
        const path = join(folder, "old.safetensors");
        const bad = new Map<string, TensorData>([["a", { dtype: "F32", shape: [1], data: new Uint8Array(3) }]]);
        await assert.rejects(writeSafetensors(path, bad), weightsError(/old\.safetensors: tensor "a"/));
        assert.equal(await readFile(path, "utf8"), "old");
        // The place is a folder, so that only the last step, the move, can fail.
        const place = join(folder, "place");
        await mkdir(place);
        await assert.rejects(writeSafetensors(place, manyTensors(1)), weightsError(/place: cannot be written/));
        await assert.rejects(
          writeSafetensors(join(folder, "no", "x"), manyTensors(1)),
          weightsError(/cannot be written/),
        );
        assert.deepEqual((await readdir(folder)).sort(), ["old.safetensors", "place"]);
      });
    });
  });

  it("a file of the safetensors library itself is read", async () => {
    const bytes = new Uint8Array(Buffer.from(FROM_PYTHON, "base64"));
    const { tensors, metadata } = await headerOf(bytes);
    const data = (name: string): Uint8Array => bytes.subarray(tensors.get(name)!.start, tensors.get(name)!.end);
    assert.deepEqual(metadata, { format: "pt" });
    assert.deepEqual([...tensors.keys()].sort(), ["brain", "flags", "half", "ids", "none", "é"]);
    assert.deepEqual([...toFloat32(data("half"), "F16")], [1.5, -2, 2 ** -24]);
    assert.deepEqual([...toFloat32(data("brain"), "BF16")], [3, -0.10009765625]);
    assert.deepEqual([...toFloat32(data("é"), "F32")], [0.25]);
    assert.deepEqual([...toInt32(data("ids"), "I64")], [-1, 7]);
    assert.deepEqual([...toInt32(data("flags"), "BOOL")], [1, 0, 1]);
    assert.deepEqual(
      [tensors.get("ids")!.shape, tensors.get("é")!.shape, tensors.get("none")!.shape],
      [[2, 1], [], [0, 3]],
    );
  });

  describe("a header is refused", () => {
    const data = new Uint8Array(24);

    it("when the file is shorter than its length field", () =>
      refused(new Uint8Array(7), /7 bytes are no safetensors/));

    it("when its length leaves the file", async () => {
      await refused(fileOf(one(), data, 999n), /should end at byte 1007, the file ends at \d+; is it cut off/);
      await refused(fileOf(one(), data).subarray(0, 20), /is it cut off/);
    });

    it("when a name is longer than any of a model, of which messages are made", async () => {
      const named = (length: number) =>
        fileOf({ ["n".repeat(length)]: { dtype: "U8", shape: [0], data_offsets: [0, 0] } });
      assert.equal((await readHeader(memorySource("file", named(1024)))).tensors.size, 1);
      const long = readHeader(memorySource("file", named(5e6)));
      await assert.rejects(
        long,
        weightsError(/^file: the tensor "n{59}\.\.\. has a name of 5000000 characters, at most/),
      );
    });

    it("when it lists more tensors than a model has, before it is parsed", async () => {
      const entry = (i: number) => `"${i}":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`;
      const listing = (count: number) => fileOf(`{${Array.from({ length: count }, (_, i) => entry(i)).join()}}`);
      const header = await readHeader(memorySource("file", listing(1000)));
      assert.equal(header.tensors.size, 1000);
      const start = performance.now();
      const many = readHeader(memorySource("file", listing(MAX_TENSORS + 3)));
      await assert.rejects(many, weightsError(/^file: .* lists more than 100000 tensors/));
      assert.ok(performance.now() - start < 1500);
    });

    it("when its length is over the limit, before anything is reserved or read for it", async () => {
      for (const length of [BigInt(MAX_HEADER_BYTES) + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
        const source = counting(memorySource("file", fileOf(one(), data, length)));
        await assert.rejects(readHeader(source), weightsError(/announce a header of \d+ bytes, at most 20000000/));
        assert.equal(source.bytes(), 8 + 32, "the length, and the start once more, to say what the file may be");
      }
    });

    it("and called by what it is, where that is another kind of file", async () => {
      const latin = (text: string): Uint8Array => Buffer.from(text.padEnd(64, "."), "latin1");
      for (const [bytes, kind] of [
        [latin("version https://git-lfs.github.com/spec/v1\noid sha256:0"), /a Git LFS pointer; run `git lfs pull`/],
        [latin("GGUF\x03\0\0\0"), /a GGUF file of llama\.cpp/],
        [latin("PK\x03\x04\x14"), /a zip archive, such as a PyTorch \.bin/],
        [latin("\x80\x02}q\x01"), /a Python pickle, which could run any program/],
        [latin("\x89HDF\r\n\x1a\n"), /an HDF5 file/],
        [latin("<!DOCTYPE html><title>Sign in</title>"), /a page of HTML/],
        [latin('{"error":"Repository not found"}'), /JSON, perhaps an error/],
        [new Uint8Array(4096), /zeros, as a download leaves that was never filled/],
      ] as const) {
        await refused(bytes, /^file: expected a safetensors file, found /, kind);
      }
      // Headers of 640, 123 and 35615 bytes, which begin as a pickle, JSON and gzip do.
      for (const length of [640, 123, 35615]) {
        const header = JSON.stringify(one()).padEnd(length);
        assert.equal((await readHeader(memorySource("file", fileOf(header, data)))).tensors.size, 1, String(length));
      }
    });

    it("when it is not JSON, not UTF-8 or no object", async () => {
      await refused(fileOf('{"a":'), /not valid JSON/);
      await refused(fileOf(""), /is "", expected a JSON object/);
      await refused(fileOf(" {}"), /is " \{\}", expected a JSON object/); // as safetensors: only "{" starts a header
      await refused(fileOf("[]"), /is "\[\]", expected a JSON object/);
      await refused(fileOf("{}\0"), /not valid JSON/);
      const bytes = fileOf('{"ab":1}');
      bytes[10] = 0xff;
      await refused(bytes, /not UTF-8/);
    });

    it("when a name is there twice, spelled with escapes too", async () => {
      const tensor = '{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}';
      await refused(fileOf(`{"a":${tensor},"b":[{"a":"}"}],"a":${tensor}}`, data), /key "a" twice/);
      await refused(fileOf(`{"a":${tensor},"\\u0061":${tensor}}`, data), /key "a" twice/);
      await refused(
        fileOf(`{"a":{"dtype":"I32","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}`, data),
        /"dtype" twice/,
      );
      await refused(fileOf(`{"__proto__":${tensor},"__proto__":${tensor}}`, data), /"__proto__" twice/);
    });

    it("when a type is unknown or missing", async () => {
      await refused(fileOf(one({ dtype: "F33" }), data), /"a" has dtype "F33", expected one of F64 F32/);
      await refused(fileOf(one({ dtype: "toString" }), data), /dtype "toString"/);
      await refused(fileOf(one({ dtype: ["F32"] }), data), /dtype \["F32"\]/);
      await refused(fileOf(one({ dtype: undefined }), data), /dtype undefined/);
    });

    it("when a shape is no list of sizes", async () => {
      for (const shape of [[-2, -3], [2.5, 3], ["2", 3], [[2], 3], [null], "23", { 0: 6 }, null, [2 ** 53], [1e300]]) {
        await refused(fileOf(one({ shape }), data), /"a" has shape/);
      }
    });

    it("when offsets are no pair of sizes in order", async () => {
      for (const offsets of [[24, 0], [0], [0, 12, 24], [-24, 0], [0, 24.5], ["0", "24"], null, {}, [0, 2 ** 53]]) {
        await refused(fileOf(one({ data_offsets: offsets }), data), /"a" has data_offsets/);
      }
    });

    it("when offsets leave the file", async () => {
      await refused(fileOf(one(), data.subarray(1)), /"a" should end at byte \d+, the file ends at \d+/);
      await refused(fileOf(one({ shape: [6, 2 ** 40], data_offsets: [0, 24 * 2 ** 40] }), data), /should end at/);
    });

    it("when type, shape and offsets do not multiply out, overflow included", async () => {
      await refused(fileOf(one({ shape: [2, 2] }), data), /"a" of F32 \[2,2\] needs 16 bytes.*give 24/);
      await refused(fileOf(one({ dtype: "F16" }), data), /needs 12 bytes/);
      // 2^32 * 2^32 * 4 wraps to 0 in 64 bits, and 2^53 - 1 times 4 is not exact.
      await refused(fileOf(one({ shape: [2 ** 32, 2 ** 32], data_offsets: [0, 0] })), /more than can be counted/);
      await refused(fileOf(one({ shape: [2 ** 53 - 1], data_offsets: [0, 24] }), data), /more than can be counted/);
    });

    it("when tensors overlap, leave a gap, or bytes follow the last", async () => {
      const pair = (second: [number, number], shape: number[]) => ({
        ...one(),
        b: { dtype: "U8", shape, data_offsets: second },
      });
      const room = new Uint8Array(32);
      await refused(fileOf(pair([20, 32], [12]), room), /"b" at byte \d+ overlaps tensor "a"/);
      await refused(fileOf(pair([0, 24], [24]), data), /overlaps/);
      await refused(fileOf(pair([25, 32], [7]), room), /"b" at byte \d+ leaves a gap after tensor "a"/);
      await refused(fileOf({ a: { dtype: "U8", shape: [20], data_offsets: [4, 24] } }, data), /gap after the header/);
      await refused(fileOf(one(), room), /8 bytes follow tensor "a".*damaged/);
      await refused(fileOf({}, room), /32 bytes follow the header/);
    });

    it("when an entry is no object or metadata are no strings", async () => {
      await refused(fileOf({ a: 5 }), /"a" is 5, expected dtype, shape and data_offsets/);
      await refused(fileOf({ a: null }), /"a" is null/);
      for (const metadata of [5, null, [], "x", { a: 1 }, { a: null }]) {
        await refused(fileOf({ __metadata__: metadata }), /__metadata__/);
      }
    });
  });

  it("a tensor called __proto__ is a tensor, and changes nothing else", async () => {
    const text = '{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"polluted":true}}';
    const { tensors } = await headerOf(fileOf(text, Uint8Array.of(7)));
    assert.deepEqual([...tensors.keys()], ["__proto__"]);
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
  });

  it("8-bit floats are listed, and refused when read", async () => {
    const { tensors } = await headerOf(fileOf(one({ dtype: "F8_E5M2", data_offsets: [0, 6] }), new Uint8Array(6)));
    assert.equal(tensors.get("a")!.dtype, "F8_E5M2");
    assert.throws(() => toFloat32(new Uint8Array(6), "F8_E5M2"), weightsError(/F8_E5M2 \(8-bit float\)/));
  });

  it("offsets beyond 4 GiB are read from a sparse file", async () => {
    await withFolder({}, async (folder) => {
      const path = join(folder, "large.safetensors");
      const far = 5 * 2 ** 30 + 8;
      const header = {
        a: { dtype: "U8", shape: [far], data_offsets: [0, far] },
        b: { dtype: "F32", shape: [2], data_offsets: [far, far + 8] },
      };
      const start = fileOf(header);
      const handle = await open(path, "w");
      await handle.write(start, 0, start.length, 0);
      const tail = new Uint8Array(Float32Array.of(1.25, -7).buffer);
      await handle.write(tail, 0, 8, start.length + far);
      await handle.close();
      const source = counting(await openFile(path));
      const { tensors, dataStart } = await readHeader(source);
      const entry = tensors.get("b")!;
      assert.deepEqual([entry.start, entry.end], [dataStart + far, dataStart + far + 8]);
      assert.deepEqual([...toFloat32(await source.read(entry.start, entry.end), "F32")], [1.25, -7]);
      assert.equal(source.bytes(), dataStart + 8);
      await source.close();
      await rm(path);
    });
  });

  describe("fuzzing", () => {
    /** Loads and checks what is loaded, or is refused with a WeightsError; anything else is thrown on. */
    async function outcome(bytes: Uint8Array): Promise<"loaded" | "refused"> {
      const source = memorySource("file", bytes);
      try {
        const header = await readHeader(source);
        let at = header.dataStart;
        for (const { start, end, dtype, shape } of header.tensors.values()) {
          const size = shape.reduce((product, axis) => product * axis, bytesOf(dtype));
          assert.equal((await source.read(start, end)).length, size);
          at += size;
        }
        assert.equal(at, bytes.length);
        return "loaded";
      } catch (error) {
        if (!(error instanceof WeightsError)) throw error;
        return "refused";
      }
    }

    it("a damaged file is refused with a WeightsError or gives the tensors it describes, never anything else", async () => {
      const random = randomOf(2);
      const tensors = new Map<string, TensorData>([
        ["a.weight", f32([2, 3], random)],
        ["__proto__", { dtype: "BF16", shape: [3], data: randomBytes(6, random) }],
        ["c", { dtype: "I64", shape: [], data: randomBytes(8, random) }],
      ]);
      const file = encodeSafetensors(tensors, { format: "pt" });
      const headerEnd = (await headerOf(file)).dataStart;
      const marks = [
        "",
        "0",
        "9",
        "-",
        "e9",
        "x",
        " ",
        '"',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\",
        "null",
        "__proto__",
        "\xff",
      ];
      const edit = fc.record({
        at: fc.oneof(
          { weight: 1, arbitrary: fc.nat(8) },
          { weight: 9, arbitrary: fc.integer({ min: 8, max: headerEnd - 1 }) },
        ),
        piece: fc.oneof(fc.constantFrom(...marks), fc.string({ maxLength: 3, unit: "binary" })),
        extra: fc.constantFrom(-1, 0, 0, 0, 1), // bytes removed beyond those that the piece replaces
        fixLength: fc.boolean(), // so that many cases come as far as JSON and the checks behind it
      });
      const edits = fc.array(edit, { minLength: 1, maxLength: 3 });
      const ends = fc.oneof(
        { weight: 4, arbitrary: fc.constant(Infinity) },
        { weight: 1, arbitrary: fc.nat(file.length) },
      );
      const outcomes = { loaded: 0, refused: 0 };
      await fc.assert(
        fc.asyncProperty(edits, ends, async (list, end) => {
          let bytes = Buffer.from(file);
          for (const { at, piece, extra, fixLength } of list) {
            const inserted = Buffer.from(piece, "latin1");
            const rest = bytes.subarray(at + Math.max(0, inserted.length + extra));
            const added = at + inserted.length + rest.length - bytes.length;
            bytes = Buffer.concat([bytes.subarray(0, at), inserted, rest]);
            const length = BigInt.asUintN(64, bytes.readBigUInt64LE(0) + BigInt(added));
            if (fixLength && at >= 8) bytes.writeBigUInt64LE(length, 0);
          }
          outcomes[await outcome(bytes.subarray(0, Math.min(end, bytes.length)))]++;
        }),
        { numRuns: 2000, seed: 20240514 },
      );
      assert.ok(outcomes.loaded > 50 && outcomes.refused > 1000, JSON.stringify(outcomes));
    });

    it("any JSON where dtype, shape and offsets should be is refused with a WeightsError or fits", async () => {
      const size = fc.oneof(fc.nat(6), fc.constantFrom(-1, 0.5, 24, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 1e308));
      const entry = fc.record(
        {
          dtype: fc.oneof(
            { weight: 4, arbitrary: fc.constantFrom(...DTYPES) },
            { weight: 1, arbitrary: fc.jsonValue() },
          ),
          shape: fc.oneof({ weight: 4, arbitrary: fc.array(size) }, { weight: 1, arbitrary: fc.jsonValue() }),
          data_offsets: fc.oneof(
            { weight: 4, arbitrary: fc.tuple(size, size) },
            { weight: 1, arbitrary: fc.jsonValue() },
          ),
        },
        { noNullPrototype: true },
      );
      const outcomes = { loaded: 0, refused: 0 };
      await fc.assert(
        fc.asyncProperty(fc.dictionary(fc.string(), entry, { maxKeys: 2 }), fc.nat(24), async (header, length) => {
          outcomes[await outcome(fileOf(header, new Uint8Array(length)))]++;
        }),
        { numRuns: 1000, seed: 20240514 },
      );
      assert.ok(outcomes.loaded > 0 && outcomes.refused > 500, JSON.stringify(outcomes));
    });
  });
});
