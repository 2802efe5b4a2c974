import assert from "node:assert/strict";
import { readdir, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { deflateRawSync } from "node:zlib";
import {
  encodeNpy,
  encodeNpz,
  MAX_DIRECTORY_BYTES,
  MAX_INFLATED,
  memorySource,
  openFile,
  openNpz,
  readHeader,
  toFloat32,
  toInt32,
  WeightsError,
  writeNpz,
  type NpzArchive,
  type TensorData,
} from "../../weights/index.js";
import { crc32 } from "../../weights/crc32.js";
import { openZip } from "../../weights/zip.js";
import { MAX_MEMBERS } from "../../weights/zip-directory.js";
import { zipParts } from "../../weights/zip-write.js";
import { fixtures } from "../parity/reference.js";
import { counting, damaged, f32, randomBytes, randomOf, weightsError, withFolder } from "./helpers.js";

const arrays = join(fixtures, "arrays");
const fixture = async (name: string): Promise<Uint8Array> => new Uint8Array(await readFile(join(arrays, name)));
const opened = (bytes: Uint8Array): Promise<NpzArchive> => openNpz(memorySource("file", bytes));
const refused = (bytes: Uint8Array, ...patterns: RegExp[]): Promise<void> =>
  assert.rejects(readAll(bytes), weightsError(/^file/, ...patterns));
async function readAll(bytes: Uint8Array): Promise<void> {
  const archive = await opened(bytes);
  for (const name of archive.names) await archive.read(name);
  for (const name of archive.others) await archive.readOther(name);
}

/**
 * A copy with a number of `width` bytes written at the first or last place where the archive has these four bytes, plus
 * `offset`.
 */
function changed(bytes: Uint8Array, signature: number, offset: number, value: number, width: 2 | 4 = 4): Uint8Array {
  const copy = bytes.slice();
  const view = new DataView(copy.buffer);
  let at = 0;
  while (view.getUint32(at, true) !== signature) at++;
  if (width === 2) view.setUint16(at + offset, value, true);
  else view.setUint32(at + offset, value, true);
  return copy;
}
const [LOCAL, ENTRY, END] = [0x04034b50, 0x02014b50, 0x06054b50];

const few = (): Map<string, TensorData> => {
  const random = randomOf(4);
  return new Map([
    ["language.blocks.0.hook_resid_pre", f32([1, 3, 5], random)],
    ["größe", { dtype: "I64", shape: [2], data: BigInt64Array.of(-1n, 7n) }],
    ["empty", { dtype: "U8", shape: [0, 3], data: new Uint8Array(0) }],
  ]);
};

describe("weights/npz", () => {
  it("what NumPy writes is read: every type, byte order, axis order and version of .npy", async () => {
    const expected = memorySource("expected", await fixture("variants.safetensors"));
    const { tensors } = await readHeader(expected);
    const archive = await opened(await fixture("variants.npz"));
    assert.deepEqual([...archive.names].sort(), [...tensors.keys()].sort());
    assert.equal(archive.names.length, 12 * 5 * 4);
    for (const { name, dtype, shape, start, end } of tensors.values()) {
      assert.deepEqual(await archive.read(name), { dtype, shape, data: await expected.read(start, end) }, name);
    }
  });

  for (const name of ["stored", "deflated", "streamed", "zip64"]) {
    it(`NumPy's own archives are read: ${name}`, async () => {
      const archive = await opened(await fixture(`${name}.npz`));
      assert.deepEqual([...archive.names].sort(), ["a/b.c", "flat", "größe", "weight"]);
      assert.deepEqual(archive.others, []);
      const weight = await archive.read("weight");
      assert.deepEqual([weight.dtype, weight.shape], ["F32", [4, 6]]);
      const stored = await (await opened(await fixture("stored.npz"))).read("weight");
      assert.deepEqual(weight.data, stored.data);
      assert.deepEqual([...toInt32((await archive.read("größe")).data, "I64")], [0, 1, 2]);
      const scalar = await archive.read("a/b.c");
      assert.deepEqual([scalar.shape, [...toFloat32(scalar.data, "F32")]], [[], [2.5]]);
      const flat = await archive.read("flat");
      assert.ok(flat.shape.join() === "40,50" && flat.data.every((byte) => byte === 0));
    });
  }

  it("what is written is read back the same, members that are no arrays included", async () => {
    const others = new Map([["__metadata__.json", new TextEncoder().encode('{"a":1}')]]);
    await withFolder({}, async (folder) => {
      const path = join(folder, "run.npz");
      await writeNpz(path, few(), others);
      assert.deepEqual(new Uint8Array(await readFile(path)), encodeNpz(few(), others));
      assert.deepEqual(await readdir(folder), ["run.npz"]);
      const source = await openFile(path);
      const archive = await openNpz(source);
      assert.deepEqual(archive.names, [...few().keys()]);
      assert.deepEqual(archive.others, ["__metadata__.json"]);
      assert.deepEqual(await archive.readOther("__metadata__.json"), others.get("__metadata__.json"));
      for (const [name, { dtype, shape, data }] of few()) {
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        assert.deepEqual(await archive.read(name), { dtype, shape, data: bytes });
      }
      await source.close();
    });
  });

  it("an array is read without the others", async () => {
    const bytes = encodeNpz(
      new Map([
        ["large", f32([100, 1000], randomOf(1))],
        ["small", f32([2], randomOf(2))],
      ]),
    );
    const source = counting(memorySource("file", bytes));
    const archive = await openNpz(source);
    await archive.read("small");
    assert.ok(source.bytes() < 70_000, `${source.bytes()} of ${bytes.length} bytes were read`);
  });

  it("a name that is not there is refused with those that are", async () => {
    const archive = await opened(encodeNpz(few()));
    await assert.rejects(archive.read("resid"), weightsError(/no array "resid", it holds "language\.blocks/));
    await assert.rejects(archive.readOther("x.json"), weightsError(/no "x\.json" in the archive/));
    await assert.rejects((await opened(encodeNpz(new Map()))).read("x"), weightsError(/it holds none/));
  });

  it("two members of one name, odd names and bytes that do not fit are not written", () => {
    const one = f32([1], randomOf(1));
    assert.throws(
      () => encodeNpz(new Map([["a", { ...one, shape: [2] }]])),
      weightsError(/array "a" of F32 \[2\] needs 8/),
    );
    assert.throws(() => encodeNpz(new Map(), new Map([["a.npy", new Uint8Array(1)]])), weightsError(/called like one/));
    const member = { name: "a", parts: [] };
    assert.throws(() => zipParts([member, member], "file"), weightsError(/two members have one name/));
    assert.throws(() => zipParts([{ name: "", parts: [] }], "file"), weightsError(/the name "" has 0 bytes/));
    assert.throws(() => zipParts([{ name: "é".repeat(501), parts: [] }], "file"), weightsError(/has 1002 bytes/));
    const gibibyte = { length: 2 ** 30 } as Uint8Array;
    const large = { name: "a", parts: [gibibyte, gibibyte, gibibyte, gibibyte] };
    assert.throws(() => zipParts([large], "file"), weightsError(/too many for a zip archive; write safetensors/));
  });

  it("the checksum is zip's, of pieces too", () => {
    // The check value that catalogues of checksums give for CRC-32.
    assert.equal(crc32(new TextEncoder().encode("123456789")), 0xcbf43926);
    const bytes = randomBytes(70, randomOf(6));
    for (let cut = 0; cut <= 70; cut++) {
      assert.equal(crc32(bytes.subarray(cut), crc32(bytes.subarray(0, cut))), crc32(bytes));
    }
  });

  describe("an archive is refused", () => {
    const good = encodeNpz(few());

    it("when it is none, empty, or cut off anywhere", async () => {
      await refused(new Uint8Array(0), /no zip archive, or its end is cut off/);
      await refused(new TextEncoder().encode("PK".repeat(50)), /no zip archive/);
      for (let end = 0; end < good.length; end++) await refused(good.subarray(0, end));
    });

    it("when a member's bytes were changed", async () => {
      const copy = good.slice();
      copy[150] ^= 1; // inside the values of the first array
      await refused(copy, /hook_resid_pre\.npy" has another CRC-32 than the archive says; it is damaged/);
    });

    it("when it is encrypted, packed by another method, or on several disks", async () => {
      await refused(changed(good, ENTRY, 8, 0x801, 2), /resid_pre\.npy" is encrypted/);
      await refused(changed(good, ENTRY, 10, 12, 2), /packed by method 12, expected 0 \(stored\) or 8 \(deflated\)/);
      await refused(changed(good, ENTRY, 34, 1, 2), /is on another disk/);
      await refused(changed(good, END, 4, 1, 2), /several disks/);
      await refused(changed(good, END, 8, 2, 2), /several disks/);
    });

    it("when places and sizes do not fit the file", async () => {
      await refused(changed(good, END, 12, 5), /list of members 5 bytes at byte \d+, which should end at/);
      await refused(changed(good, END, 16, 7), /list of members .* at byte 7/);
      await refused(changed(changed(good, END, 8, 9, 2), END, 10, 9, 2), /has 3 entries and announces 9/);
      await refused(changed(good, ENTRY, 42, 1_000_000), /must end before/);
      await refused(changed(good, ENTRY, 24, 3), /is stored, and has \d+ bytes in the archive for 3 of its own/);
      await refused(changed(good, LOCAL, 28, 60_000, 2), /does not start at byte 0 or does not fit there/);
      await refused(changed(good, LOCAL, 0, 0), /does not start at byte 0/);
      await refused(changed(good, LOCAL, 30, 0x41414141), /is called "AAAA/);
      await refused(changed(good, ENTRY, 28, 60_000, 2), /cut off or damaged/);
      await refused(changed(good, ENTRY, 42, 0xffffffff), /without its zip64 sizes/);
      await refused(changed(good, END, 16, 0xffffffff), /end of the zip64 archive has no locator/);
    });

    it("when a name is there twice, or is no UTF-8", async () => {
      const two = Buffer.concat(
        zipParts(
          ["a.npy", "b.npy"].map((name) => ({ name, parts: [] })),
          "x",
        ),
      );
      const twice = Buffer.from(two.toString("latin1").replaceAll("b.npy", "a.npy"), "latin1");
      await refused(new Uint8Array(twice), /list of members has "a\.npy" twice/);
      const odd = Buffer.from(two.toString("latin1").replaceAll("b.npy", "\xff.npy"), "latin1");
      await refused(new Uint8Array(odd), /a name is not UTF-8/);
    });

    it("when many members share their bytes: a small archive would become a large one", async () => {
      const local = encodeNpy(f32([10], randomOf(1)));
      const parts = zipParts(
        [0, 1].map((i) => ({ name: `${i}.npy`, parts: [local] })),
        "x",
      );
      const bytes = new Uint8Array(Buffer.concat(parts));
      const view = new DataView(bytes.buffer);
      const second = bytes.length - 22 - parts.at(-2)!.length;
      view.setUint32(second + 42, 0, true);
      await refused(bytes, /must end before 0; damaged/);
    });

    it("when its list of members is too long to be one", async () => {
      await withFolder({}, async (folder) => {
        const path = join(folder, "long.npz");
        const end = zipParts([], "x").at(-1)!.slice();
        const view = new DataView(end.buffer);
        view.setUint32(12, MAX_DIRECTORY_BYTES + 1, true);
        await writeFile(path, "");
        await truncate(path, MAX_DIRECTORY_BYTES + 1);
        await writeFile(path, end, { flag: "a" });
        const source = await openFile(path);
        await assert.rejects(openNpz(source), weightsError(/list of members has 16777217 bytes, at most 16777216/));
        await source.close();
      });
    });
  });

  it("an archive of more members than a model has is refused by their number", async () => {
    const bytes = encodeNpz(
      new Map(
        Array.from({ length: MAX_MEMBERS + 1 }, (_, i) => [
          `${i}`,
          { dtype: "U8", shape: [0], data: new Uint8Array(0) } as const,
        ]),
      ),
    );
    await assert.rejects(opened(bytes), weightsError(/^file: its list has 20001 members, at most 20000 are read/));
  });

  describe("a bomb is refused", () => {
    /** An archive of deflated members that claim some sizes. */
    function bomb(members: { packed: Uint8Array; size: number; crc?: number }[]): Uint8Array {
      const inputs = members.map(({ packed }, i) => ({ name: `${i}.npy`, parts: [packed] }));
      const bytes = new Uint8Array(Buffer.concat(zipParts(inputs, "x")));
      const view = new DataView(bytes.buffer);
      let at = -1;
      for (const { size, crc } of members) {
        do at++;
        while (view.getUint32(at, true) !== ENTRY);
        view.setUint16(at + 10, 8, true);
        view.setUint32(at + 24, size, true);
        if (crc !== undefined) view.setUint32(at + 16, crc, true);
      }
      return bytes;
    }
    const zeros = new Uint8Array(2 ** 22);
    const packed = new Uint8Array(deflateRawSync(zeros));

    it("when a member claims more than its bytes can hold, before it is unpacked", () =>
      refused(bomb([{ packed, size: 2 ** 32 - 2 }]), /claims to become 4294967294 bytes, more than its \d+ packed/));

    it("when all members together claim more than the limit", () => {
      const large = new Uint8Array(3 * 2 ** 20);
      const claim = { packed: large, size: 2 ** 31 };
      return refused(
        bomb([claim, claim, claim]),
        new RegExp(`"2.npy" claims .* 6442450944 with those before it; at most ${MAX_INFLATED} are unpacked`),
      );
    });

    it("when a member becomes more or less than it claims", async () => {
      await refused(bomb([{ packed, size: 2 ** 20 }]), /cannot be unpacked to the 1048576 bytes/);
      await refused(bomb([{ packed, size: 2 ** 22 + 1 }]), /becomes 4194304 bytes, the archive says 4194305/);
      await refused(bomb([{ packed: packed.subarray(0, 100), size: 2 ** 16 }]), /cannot be unpacked/);
      await refused(bomb([{ packed: new Uint8Array(2 ** 13), size: 2 ** 16 }]), /cannot be unpacked|becomes/);
    });

    it("and the same member is read when it tells the truth", async () => {
      const bytes = bomb([{ packed, size: zeros.length, crc: crc32(zeros) }]);
      const archive = await openZip(memorySource("file", bytes));
      assert.deepEqual(await archive.read("0.npy"), zeros);
    });
  });

  for (const name of ["deflated", "zip64", "streamed"]) {
    it(`a damaged archive gives arrays or a WeightsError, never anything else: ${name}`, async () => {
      const whole = await fixture(`${name}.npz`);
      const random = randomOf(12);
      for (let end = 0; end < whole.length; end += 37) await refused(whole.subarray(0, end));
      for (let round = 0; round < 500; round++) {
        await readAll(damaged(whole, random)).catch((error: unknown) => {
          assert.ok(error instanceof WeightsError, String(error));
        });
      }
    });
  }
});
