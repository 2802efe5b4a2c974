import assert from "node:assert/strict";
import { deflateRawSync } from "node:zlib";
import { crc32 } from "../../weights/crc32.js";
import { inflatingSource } from "../../weights/inflating-source.js";
import type { ByteSource } from "../../weights/byte-source.js";
import { randomOf, weightsError } from "./helpers.js";

/** 5 MB that shrink, so that several packed and unpacked pieces are needed. */
const random = randomOf(8);
const content = Uint8Array.from({ length: 5_000_011 }, () => Math.floor(random() * 40));
const packed = new Uint8Array(deflateRawSync(content));
const claim = { name: "file: member", size: content.length, packed: packed.length, crc: crc32(content) };

/** The content as a source, and how many packed bytes were read. */
function opened(bytes = packed, claims: Partial<typeof claim> = {}): { source: ByteSource; read: () => number } {
  let read = 0;
  const source = inflatingSource({ ...claim, packed: bytes.length, ...claims }, async (start, end) => {
    read += end - start;
    return bytes.slice(start, end);
  });
  return { source, read: () => read };
}
const range = async (source: ByteSource, start: number, end: number): Promise<void> =>
  assert.ok(Buffer.from(content.subarray(start, end)).equals(await source.read(start, end)), `${start}..${end}`);

describe("weights/inflating-source", () => {
  it("gives any range, and goes on where the last one ended", async () => {
    const { source, read } = opened();
    for (const at of [0, 80_000, 2 ** 20 - 1, 2_200_000, 3_000_000]) await range(source, at, at + 70_000);
    assert.ok(read() < packed.length, `${read()} of ${packed.length} were needed`);
    await range(source, 4_900_000, content.length);
    assert.equal(read(), packed.length);
    await source.close();
  });

  it("begins anew for what lies before", async () => {
    const { source, read } = opened();
    await range(source, 4_999_000, content.length);
    await range(source, 17, 4_000_000);
    await range(source, 0, 1);
    assert.ok(read() > packed.length);
    await source.close();
  });

  it("gives many ranges asked for at once", async () => {
    const { source } = opened();
    const starts = [4_000_000, 5, 2_500_000, 2_500_000, 0];
    await Promise.all(starts.map((start) => range(source, start, start + 100_000)));
    await source.close();
  });

  it("gives empty ranges and refuses those outside", async () => {
    const { source } = opened();
    assert.equal((await source.read(9, 9)).length, 0);
    await assert.rejects(
      source.read(0, content.length + 1),
      weightsError(/^file: member: bytes 0\.\.5000012 were asked/),
    );
    await range(source, 0, 9);
    await source.close();
    const nothing = inflatingSource({ name: "empty", size: 0, packed: 2, crc: 0 }, async (s, e) =>
      deflateRawSync("").subarray(s, e),
    );
    assert.equal((await nothing.read(0, 0)).length, 0);
  });

  it("compares the CRC-32 where the last byte is read, and not before", async () => {
    const { source } = opened(packed, { crc: claim.crc ^ 1 });
    await range(source, 0, content.length - 1);
    await assert.rejects(source.read(content.length - 1, content.length), weightsError(/another CRC-32/));
    await assert.rejects(source.read(0, content.length), weightsError(/another CRC-32/));
  });

  it("refuses bytes that become more or fewer than announced", async () => {
    const { source: fewer } = opened(packed, { size: content.length + 1 });
    await assert.rejects(
      fewer.read(0, content.length + 1),
      weightsError(/becomes 5000011 bytes, the archive says 5000012/),
    );
    const { source: more } = opened(packed, { size: content.length - 1 });
    await assert.rejects(more.read(0, content.length - 1), weightsError(/becomes more than the 5000010 bytes/));
  });

  it("refuses bytes that are cut off or damaged, again and again", async () => {
    const { source: cut } = opened(packed.subarray(0, packed.length - 100));
    for (let times = 0; times < 2; times++) {
      await assert.rejects(cut.read(0, content.length), weightsError(/^file: member/));
    }
    const broken = packed.slice();
    broken.fill(255, 1000, 1100);
    const { source: damaged } = opened(broken);
    for (let times = 0; times < 2; times++) {
      await assert.rejects(damaged.read(0, content.length), weightsError(/cannot be unpacked to the 5000011 bytes/));
    }
  });

  it("hands on what reading the file throws", async () => {
    const source = inflatingSource(claim, async () => Promise.reject(new Error("the disk is gone")));
    await assert.rejects(source.read(0, 10), weightsError(/cannot be unpacked .*the disk is gone/));
  });
});
