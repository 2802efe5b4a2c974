import assert from "node:assert/strict";

import fc from "fast-check";

import { parseShard, shardFile, shardOf } from "../../../src/jobs/shard.js";
import { InputError } from "../../../src/base/errors.js";

const count = fc.integer({ min: 1, max: 2 ** 32 });

describe("shards", () => {
  it("every id belongs to exactly one shard, whatever else is in the file", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 9 }), (id, count) => {
        const own = Array.from({ length: count }, (_, index) => index).filter((index) => shardOf(id, count) === index);
        assert.equal(own.length, 1);
        assert.equal(shardOf(`${id}`, count), own[0]);
      }),
    );
  });

  it("the shard is CRC-32 of the id in UTF-8, modulo the number of shards, today and tomorrow", () => {
    // Computed with zlib.crc32(id.encode()) of Python 3.11.
    for (const [id, crc] of [
      ["", 0],
      ["1", 2212294583],
      ["42", 841265288],
      ["COCO_val2014_000000000042.jpg", 1715386327],
      ["größe", 1540598153],
      ["絵🌅", 3011906503],
    ] as const) {
      for (const count of [1, 2, 3, 7, 64, 2 ** 32]) assert.equal(shardOf(id, count), crc % count, `${id} of ${count}`);
    }
  });

  it("shares of ids as people number them differ by less than a tenth", () => {
    const forms = [
      (i: number) => String(i),
      (i: number) => String(i * 1000),
      (i: number) => `COCO_val2014_${String(i).padStart(12, "0")}.jpg`,
    ];
    for (const form of forms) {
      for (const count of [2, 3, 8, 16]) {
        const sizes = new Array<number>(count).fill(0);
        for (let i = 1; i <= 20_000; i++) sizes[shardOf(form(i), count)]!++;
        assert.ok(Math.max(...sizes) - Math.min(...sizes) < 2000 / count, `${form(1)}: ${sizes.join(" ")}`);
      }
    }
  });

  it("i/N is read for 0 <= i < N, and nothing else", () => {
    fc.assert(
      fc.property(count, fc.nat(), (count, any) => {
        const shard = { index: any % count, count };
        assert.deepEqual(parseShard(`${shard.index}/${count}`), shard);
        assert.throws(() => parseShard(`${count}/${count}`), InputError);
      }),
    );
    for (const text of [
      "",
      "1",
      "0/0",
      "1/1",
      "-1/2",
      "0.5/2",
      "a/2",
      "0/2/3",
      " 0/2",
      "0/2 ",
      "0x0/2",
      "0/1e3",
      "1/",
    ]) {
      assert.throws(() => parseShard(text), { name: "InputError", message: /^shard: expected i\/N .* received "/ });
    }
  });

  it("each shard has a file of its own, and one run has the file itself", () => {
    assert.equal(shardFile("a/out.jsonl", { index: 0, count: 1 }), "a/out.jsonl");
    assert.equal(shardFile("a/out.jsonl", { index: 1, count: 12 }), "a/out.00001-of-00012.jsonl");
    assert.equal(shardFile("out", { index: 0, count: 123456 }), "out.00000-of-123456");
  });
});
