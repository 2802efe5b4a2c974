import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";

import fc from "fast-check";

import { type FileLine, MAX_LINE_BYTES, readLines, sizeOfFile } from "../../../src/jobs/file-lines.js";
import { scratchFolder } from "../../support/batch-files.js";

async function linesOf(file: string, size?: number): Promise<FileLine[]> {
  const lines: FileLine[] = [];
  for await (const line of readLines(file, size)) lines.push(line);
  return lines;
}

describe("lines of a file", () => {
  const scratch = scratchFolder();

  it("joined by line feeds they are the file, whatever bytes it holds", async () => {
    // Zeros between line feeds, so that lines end on both sides of the blocks in which files are read.
    const piece = fc.oneof(
      fc.constant([10]),
      fc.array(fc.nat(255), { maxLength: 5 }),
      fc.constant(new Array(40_000).fill(0)),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), async (pieces) => {
        const bytes = Buffer.from(pieces.flat());
        writeFileSync(scratch("any"), bytes);
        const lines = await linesOf(scratch("any"));
        const joined = Buffer.concat(lines.flatMap((line) => [line.bytes!, Buffer.from(line.complete ? "\n" : "")]));
        assert.ok(joined.equals(bytes));
        lines.forEach((line, i) => {
          assert.equal(line.number, i + 1);
          assert.equal(line.complete, line.end > 0 && bytes[line.end - 1] === 10);
        });
      }),
      { numRuns: 60 },
    );
  });

  it("of the first bytes of a file are those of a file that ends there", async () => {
    writeFileSync(scratch("four"), "one\ntwo\nthree");
    const texts = async (size: number) => (await linesOf(scratch("four"), size)).map(({ bytes }) => bytes!.toString());
    assert.deepEqual(await texts(13), ["one", "two", "three"]);
    assert.deepEqual(await texts(9), ["one", "two", "t"]);
    assert.deepEqual(await texts(8), ["one", "two"]);
    assert.deepEqual(await texts(0), []);
  });

  it("longer than a mebibyte are not kept, and those behind them are", async () => {
    const longest = "x".repeat(MAX_LINE_BYTES);
    writeFileSync(scratch("long"), `a\n${longest}\n${longest}y\nb`);
    const lines = await linesOf(scratch("long"));
    assert.deepEqual(
      lines.map(({ bytes }) => bytes?.length ?? null),
      [1, MAX_LINE_BYTES, null, 1],
    );
    assert.equal(lines.at(-1)!.end, 2 * MAX_LINE_BYTES + 6);
  });

  it("cannot be read from what is absent, a folder or a device", async () => {
    await assert.rejects(sizeOfFile(scratch("absent")), {
      name: "InputError",
      message: /absent: cannot be read \(ENOENT\)/,
    });
    await assert.rejects(sizeOfFile(scratch()), { name: "InputError", message: /expected a regular file/ });
    await assert.rejects(sizeOfFile("/dev/zero"), { name: "InputError", message: /expected a regular file/ });
    await assert.rejects(linesOf(scratch("absent")), { name: "InputError", message: /ENOENT/ });
  });
});
