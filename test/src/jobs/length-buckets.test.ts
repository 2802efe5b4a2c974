import assert from "node:assert/strict";

import fc from "fast-check";

import type { AskedLine, BatchLine } from "../../../src/jobs/batch-lines.js";
import { type Group, groupsOf } from "../../../src/jobs/length-buckets.js";
import { InputError } from "../../../src/base/errors.js";

const line = (id: number, prompt: string): AskedLine => ({ id: String(id), number: id, prompt, images: ["x"] });
const refused = (id: number): BatchLine => ({ id: String(id), number: id, error: new InputError("no") });

async function* from<T>(values: Iterable<T>): AsyncGenerator<T> {
  yield* values;
}

async function grouped(
  lines: BatchLine[],
  size: number,
  lengthOf = (one: AskedLine) => one.prompt.length,
): Promise<Group[]> {
  const groups: Group[] = [];
  for await (const group of groupsOf(from(lines), size, lengthOf)) groups.push(group);
  return groups;
}

const ids = (groups: Group[]) => groups.map(({ asked }) => asked.map(({ number }) => number));

describe("groups of lines", () => {
  it("hold every line once, none more than asked for, and full but for the last of a window", async () => {
    const any = fc.array(fc.oneof(fc.nat(80), fc.constant(null)), { maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(any, fc.integer({ min: 1, max: 9 }), async (lengths, size) => {
        const lines = lengths.map((length, i) => (length === null ? refused(i) : line(i, "x".repeat(length))));
        const groups = await grouped(lines, size);
        const asked = groups.flatMap((group) => group.asked);
        const all = [...asked, ...groups.flatMap((group) => group.refused)];
        assert.deepEqual(
          all.map(({ number }) => number).sort((a, b) => a - b),
          lines.map((_, i) => i),
        );
        assert.ok(groups.every((group) => group.asked.length <= size && group.asked.length + group.refused.length > 0));
      }),
    );
  });

  it("keep the order of the file among lines of like length, so that those about one picture stay together", async () => {
    const lines = Array.from({ length: 8 }, (_, i) => line(i, "x".repeat(1 + ((i * 5) % 16))));
    assert.deepEqual(ids(await grouped(lines, 2)), [
      [0, 1],
      [2, 3],
      [4, 5],
      [6, 7],
    ]);
  });

  it("bring short and long lines of a window apart, and look no further ahead than four groups", async () => {
    const lines = Array.from({ length: 12 }, (_, i) => line(i, "x".repeat(i % 2 === 0 ? 40 : 4)));
    assert.deepEqual(ids(await grouped(lines, 2)), [
      [1, 3],
      [5, 7],
      [0, 2],
      [4, 6],
      [9, 11],
      [8, 10],
    ]);
  });

  it("refuse a line that cannot be measured, and throw what is no fault of the line", async () => {
    const lengthOf = (one: AskedLine) => {
      if (one.number === 1) throw new InputError("too long");
      return 1;
    };
    const [group] = await grouped([line(0, "a"), line(1, "b"), line(2, "c")], 3, lengthOf);
    assert.deepEqual(ids([group!]), [[0, 2]]);
    assert.deepEqual(
      group!.refused.map(({ id, error }) => [id, error.message]),
      [["1", "too long"]],
    );
    await assert.rejects(
      grouped([line(0, "a")], 1, () => assert.fail("broken")),
      /broken/,
    );
  });

  it("are given out before the file ends where all lines are refused", async () => {
    let read = 0;
    async function* endless(): AsyncGenerator<BatchLine> {
      for (;;) yield refused(read++);
    }
    for await (const group of groupsOf(endless(), 3, () => 1)) {
      assert.equal(group.refused.length, read);
      break;
    }
    assert.equal(read, 12);
  });
});
