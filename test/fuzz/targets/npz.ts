import assert from "node:assert/strict";
import { deflateRawSync, inflateRawSync } from "node:zlib";

import fc from "fast-check";

import { decodeNpy, encodeNpy } from "../../../weights/npy.js";
import { encodeNpz, type NpzArchive, openNpz } from "../../../weights/npz.js";
import { crc32 } from "../../../weights/crc32.js";
import { readOrRefused, target, watchedSource } from "../fuzz.js";
import { type ByteEdit, byteEdits, editedBytes, joined, utf8 } from "../mutations.js";

const OPTIONS = { void2: "BF16" } as const;

/** Widths by the last character but one and the last of NumPy's types. */
const WIDTH = /^[<>|]([fiubV])([1248])$/;
const KINDS: Record<string, string> = {
  ...{ f2: "F16", f4: "F32", f8: "F64", i1: "I8", i2: "I16", i4: "I32", i8: "I64", b1: "BOOL", V2: "BF16" },
  ...{ u1: "U8", u2: "U16", u4: "U32", u8: "U64" },
};

/** CRC-32 bit by bit. Source: ISO 3309, the polynomial reversed. */
function simpleCrc(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

type Simple = { dtype: string; shape: number[]; values: number[][] };

/**
 * A second, simple reader of a .npy file, for what the first has accepted: the bytes of each value, in C order, lowest
 * first.
 */
function simpleNpy(file: Uint8Array): Simple {
  const version = file[6];
  const from = version === 1 ? 10 : 12;
  const length = version === 1 ? file[8] + 256 * file[9] : Buffer.from(file).readUInt32LE(8);
  const text = Buffer.from(file.subarray(from, from + length)).toString("latin1");
  const descr = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(text)![1];
  const fortran = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text)![1] === "True";
  const shape = [.../['"]shape['"]\s*:\s*\(([^)]*)\)/.exec(text)![1].matchAll(/\d+/g)].map(([size]) => Number(size));
  const [, kind, digit] = WIDTH.exec(descr)!;
  const width = Number(digit);
  const data = file.subarray(from + length);
  const count = shape.reduce((product, axis) => product * axis, 1);
  assert.equal(data.length, count * width, "the values fill the file");
  const values = Array.from({ length: count }, (_, flat) => {
    const index = shape.map((size, axis) => Math.floor(flat / product(shape.slice(axis + 1))) % size);
    const place = fortran ? index.reduce((sum, i, axis) => sum + i * product(shape.slice(0, axis)), 0) : flat;
    const bytes = [...data.subarray(place * width, (place + 1) * width)];
    return descr[0] === ">" ? bytes.reverse() : bytes;
  });
  return { dtype: KINDS[kind + digit], shape, values };
}

const product = (sizes: readonly number[]): number => sizes.reduce((all, size) => all * size, 1);

/** Arrays of every byte order, axis order and version of the header. */
const ARRAYS: Uint8Array[] = [
  encodeNpy({ dtype: "F32", shape: [2, 3], data: Float32Array.from([1, 2, 3, 4, 5, 6]) }),
  encodeNpy({ dtype: "BF16", shape: [4], data: Uint8Array.from({ length: 8 }, (_, i) => i) }),
  ...[1, 2, 3].map((version) => {
    const text = `{'descr': '>i2', 'fortran_order': True, 'shape': (2, ${version}, 3), }\n`;
    const length = version === 1 ? [text.length, 0] : [text.length, 0, 0, 0];
    const values = Uint8Array.from({ length: 12 * version }, (_, i) => i * 5);
    return joined(Uint8Array.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0, ...length]), utf8(text), values);
  }),
  encodeNpy({ dtype: "F64", shape: [], data: Float64Array.from([Math.PI]) }),
];

/** Words that a header may have in place of others, to get past a parser where bytes hardly ever do. */
const WORDS = [
  "'<f4'",
  "'|u1'",
  "'>f8'",
  "'|O'",
  "'<V2'",
  "True",
  "(2, 3)",
  "(6,)",
  "(6)",
  "()",
  "(0, 9)",
  "(-1,)",
  "9".repeat(30),
];

function withWord(file: Uint8Array, pick: number): Uint8Array {
  const text = Buffer.from(file).toString("latin1");
  const places = [/'[<>|]\w+'/, /True|False/, /\([^)]*\)/];
  const changed = text.replace(places[pick % 3], () => WORDS[pick % WORDS.length]);
  return new Uint8Array(Buffer.from(changed, "latin1"));
}

/** Arrays with wrong headers and wrong lengths. */
export const npy = target({
  name: ".npy arrays",
  share: 8,
  cases: fc.record({ file: fc.nat(ARRAYS.length - 1), word: fc.option(fc.nat(1 << 16)), bytes: byteEdits(3) }),
  check: async ({ file, word, bytes }) => {
    const changed = editedBytes(word === null ? ARRAYS[file] : withWord(ARRAYS[file], word), bytes);
    const read = await readOrRefused(() => decodeNpy(changed, "array", OPTIONS));
    if (read === null) return false;
    requireSame(read, simpleNpy(changed));
    return true;
  },
});

function requireSame(read: { dtype: string; shape: readonly number[]; data: Uint8Array }, simple: Simple): void {
  assert.deepEqual([read.dtype, read.shape], [simple.dtype, simple.shape]);
  assert.deepEqual([...read.data], simple.values.flat());
}

/**
 * A zip archive of these members, all deflated, as Python's zipfile lays it out; with `wide`, sizes in zip64 fields.
 */
function deflated(members: Record<string, Uint8Array>, wide: boolean): Uint8Array {
  const [locals, entries]: [Uint8Array[], Uint8Array[]] = [[], []];
  let at = 0;
  for (const [name, bytes] of Object.entries(members)) {
    const packed = deflateRawSync(bytes);
    const fields = Buffer.alloc(26);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(crc32(bytes), 10);
    fields.writeUInt32LE(packed.length, 14);
    fields.writeUInt32LE(bytes.length, 18);
    fields.writeUInt16LE(name.length, 22);
    const local = joined(Uint8Array.from([0x50, 0x4b, 3, 4]), fields, utf8(name), packed);
    const extra = Buffer.alloc(wide ? 20 : 0);
    if (wide) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(16, 2);
      extra.writeBigUInt64LE(BigInt(bytes.length), 4);
      extra.writeBigUInt64LE(BigInt(packed.length), 12);
      fields.writeUInt32LE(0xffffffff, 14);
      fields.writeUInt32LE(0xffffffff, 18);
    }
    fields.writeUInt16LE(extra.length, 24);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(at, 10);
    entries.push(joined(Uint8Array.from([0x50, 0x4b, 1, 2, 20, 0]), fields, rest, utf8(name), extra));
    locals.push(local);
    at += local.length;
  }
  const list = joined(...entries);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  for (const place of [8, 10]) end.writeUInt16LE(entries.length, place);
  end.writeUInt32LE(list.length, 12);
  end.writeUInt32LE(at, 16);
  return joined(...locals, list, end);
}

const members = { "a.npy": ARRAYS[0], "b.npy": ARRAYS[3] };
/** The archive with both of its members under one name. */
const twice = (archive: Uint8Array): Uint8Array =>
  new Uint8Array(Buffer.from(Buffer.from(archive).toString("latin1").replaceAll("b.npy", "a.npy"), "latin1"));
const ARCHIVES = [
  encodeNpz(
    new Map([
      ["a", { dtype: "F32", shape: [3], data: Float32Array.from([1, 2, 3]) }],
      ["b", { dtype: "I64", shape: [1, 2], data: BigInt64Array.from([1n, -2n]) }],
    ]),
    new Map([["note.txt", utf8("hello")]]),
  ),
  deflated(members, false),
  deflated(members, true),
  twice(deflated(members, false)),
];

/** A second, simple reader of a zip archive without a comment: members by name, from the list at its end. */
function simpleZip(file: Uint8Array, crcs = new Map<string, number>()): Map<string, Uint8Array> {
  const bytes = Buffer.from(file);
  const found = new Map<string, Uint8Array>();
  let at = bytes.lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6]));
  at = bytes.readUInt32LE(at + 16);
  for (; bytes.readUInt32LE(at) === 0x02014b50;) {
    const [name, extra, comment] = [28, 30, 32].map((place) => bytes.readUInt16LE(at + place));
    const start = bytes.readUInt32LE(at + 42);
    let [packed, size] = [bytes.readUInt32LE(at + 20), bytes.readUInt32LE(at + 24)];
    const wide = at + 46 + name + 4;
    if (size === 0xffffffff) size = Number(bytes.readBigUInt64LE(wide));
    if (packed === 0xffffffff) packed = Number(bytes.readBigUInt64LE(wide + 8));
    const from = start + 30 + bytes.readUInt16LE(start + 26) + bytes.readUInt16LE(start + 28);
    const data = bytes.subarray(from, from + packed);
    crcs.set(bytes.toString("utf8", at + 46, at + 46 + name), bytes.readUInt32LE(at + 16));
    const key = bytes.toString("utf8", at + 46, at + 46 + name);
    if (bytes.readUInt16LE(at + 10) === 0) found.set(key, data);
    else found.set(key, safely(() => inflateRawSync(data, { maxOutputLength: 2 ** 20 })).subarray(0, size));
    at += 46 + name + extra + comment;
  }
  return found;
}

const safely = (inflate: () => Uint8Array): Uint8Array => {
  try {
    return inflate();
  } catch {
    return new Uint8Array(0); // damaged: the first reader must not have accepted it
  }
};

/** How many members an archive's end announces. */
const countOf = (file: Uint8Array): number =>
  Buffer.from(file).readUInt16LE(Buffer.from(file).lastIndexOf(Buffer.from([0x50, 0x4b, 5, 6])) + 10);

/** Places near the end and the start are tried more often: there are the lists. */
const archiveEdits = (): fc.Arbitrary<ByteEdit[]> => byteEdits(3);

/** Archives with a wrong byte anywhere: in the list, in a member's header, in what is packed. */
export const archives = target({
  name: ".npz archives",
  share: 8,
  cases: fc.record({
    file: fc.nat(ARCHIVES.length - 1),
    bytes: archiveEdits(),
    tail: fc.boolean(),
  }),
  check: async ({ file, bytes, tail }) => {
    const whole = ARCHIVES[file];
    const list = Math.max(0, whole.length - 180);
    const changed = tail
      ? joined(whole.subarray(0, list), editedBytes(whole.subarray(list), bytes))
      : editedBytes(whole, bytes);
    return requireRightArchive(changed);
  },
});

async function requireRightArchive(file: Uint8Array): Promise<boolean> {
  const source = watchedSource("archive", file);
  const archive: NpzArchive | null = await readOrRefused(() => openNpz(source, OPTIONS));
  if (archive === null) return false;
  const crcs = new Map<string, number>();
  const simple = simpleZip(file, crcs);
  assert.equal(new Set([...archive.names, ...archive.others]).size, countOf(file), "as many names as members");
  assert.deepEqual(
    [...archive.names.map((name) => `${name}.npy`), ...archive.others].sort(),
    [...simple.keys()].sort(),
  );
  let all = true;
  for (const name of archive.names) {
    const read = await readOrRefused(() => archive.read(name));
    const opened: Awaited<ReturnType<NpzArchive["open"]>> | null = await readOrRefused(
      (): ReturnType<NpzArchive["open"]> => archive.open(name),
    );
    all &&= read !== null;
    if (read) requireSame(read, simpleNpy(simple.get(`${name}.npy`)!));
    if (read) assert.equal(crcs.get(`${name}.npy`), simpleCrc(simple.get(`${name}.npy`)!), "the CRC-32");
    if (opened === null) continue;
    const { header, source: member }: Awaited<ReturnType<NpzArchive["open"]>> = opened;
    const part = await readOrRefused(() => member.read(header.dataStart, header.dataEnd));
    if (part) assert.deepEqual(part, new Uint8Array(simple.get(`${name}.npy`)!.subarray(header.dataStart)));
    await member.close();
  }
  for (const name of archive.others) {
    const read: Uint8Array | null = await readOrRefused((): Promise<Uint8Array> => archive.readOther(name));
    if (read) assert.deepEqual(read, new Uint8Array(simple.get(name)!));
  }
  return all;
}
