import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";

import { batchLines } from "../../../../src/jobs/scan-input.js";
import { readEdits } from "../../../../src/cli/inspection-options.js";
import { readPrompts } from "../../../../src/cli/prompts-file.js";
import { InputError } from "../../../../src/base/errors.js";
import { decodeText, encodingOf, inUtf8 } from "../../../../src/input/tokenizer/text-encoding.js";
import { inTemporaryFolder } from "../../../support/temporary.js";

const TEXT = 'grün, 日本 and \u{1f600}\r\n{"id": 1}\n';
const bigEndian = (text: string): Buffer => Buffer.from(text, "utf16le").swap16();
const forms = {
  "UTF-8": (text: string) => Buffer.from(text),
  "UTF-8 with its mark": (text: string) => Buffer.from(`\ufeff${text}`),
  "UTF-16 LE": (text: string) => Buffer.from(`\ufeff${text}`, "utf16le"),
  "UTF-16 BE": (text: string) => bigEndian(`\ufeff${text}`),
};
const damaged = {
  "Latin-1": Buffer.from("grün", "latin1"),
  "UTF-16 without its mark": Buffer.from("grün", "utf16le"),
  "ASCII as UTF-16 without its mark": Buffer.from("ocr", "utf16le"),
  "UTF-32": Buffer.from([0xff, 0xfe, 0, 0, 0x61, 0, 0, 0]),
  "half a UTF-16 unit": Buffer.from([0xff, 0xfe, 0x61]),
  "a lone surrogate": Buffer.from([0xff, 0xfe, 0x00, 0xd8]),
  "a lone surrogate, big-endian": Buffer.from([0xfe, 0xff, 0xd8, 0x00]),
};

async function* cutInto(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe("the encoding of text files", () => {
  for (const [form, encode] of Object.entries(forms)) {
    it(`${form} is read by its mark, in one piece and in blocks of any size`, async () => {
      assert.equal(decodeText(encode(TEXT), "file"), TEXT);
      for (const size of [1, 2, 3, 5, 1000]) {
        const blocks: Buffer[] = [];
        for await (const block of inUtf8(cutInto(encode(TEXT), size), "file")) blocks.push(block);
        assert.equal(
          Buffer.concat(blocks)
            .toString()
            .replace(/^\ufeff/, ""),
          TEXT,
          `${size} bytes a block`,
        );
      }
    });

    it(`${form}: prompts, edits and the lines of a batch are the same`, () =>
      inTemporaryFolder(async (folder) => {
        const write = async (name: string, text: string) => {
          await writeFile(path.join(folder, name), encode(text));
          return path.join(folder, name);
        };
        const prompts = await write("prompts.txt", "caption de\r\n\r\nanswer en grün 日本?\n");
        assert.deepEqual(await readPrompts(prompts), ["caption de", "answer en grün 日本?"]);
        assert.deepEqual(await readEdits(await write("edits.json", '[{"hook": "ü"}]')), [{ hook: "ü" }]);
        const input = await write("input.jsonl", '{"image": "ü.png", "prompt": "ocr"}\n{"image": "b", "prompt": "日"}');
        const lines = [];
        for await (const line of batchLines(input, 1e6)) lines.push(line);
        assert.deepEqual(
          lines.map((line) => ("prompt" in line ? [line.images, line.prompt] : line.error)),
          [
            [["ü.png"], "ocr"],
            [["b"], "日"],
          ],
        );
      }));
  }

  for (const [what, bytes] of Object.entries(damaged)) {
    it(`${what} is refused, naming the file and what is expected`, () =>
      inTemporaryFolder(async (folder) => {
        const refused = (error: Error) =>
          error instanceof InputError && /file.*expected UTF-(8|16[LB]E)/.test(error.message);
        assert.throws(() => decodeText(bytes, "file"), refused);
        const file = path.join(folder, "file");
        await writeFile(file, bytes);
        await assert.rejects(readPrompts(file), refused);
        await assert.rejects(readEdits(file), refused);
      }));
  }

  it("UTF-16 that ends in half a unit is refused as the input of a batch too", () =>
    inTemporaryFolder(async (folder) => {
      const input = path.join(folder, "input.jsonl");
      await writeFile(input, Buffer.concat([forms["UTF-16 LE"]('{"image": "a", "prompt": "b"}\n'), Buffer.from("x")]));
      const lines = batchLines(input, 1e6);
      await lines.next();
      await assert.rejects(lines.next(), /input\.jsonl: expected UTF-16LE/);
    }));

  it("a file of no byte, and of one, has no mark", async () => {
    assert.equal(encodingOf(new Uint8Array(0)), "utf-8");
    assert.equal(decodeText(new Uint8Array(0), "file"), "");
    const blocks: Buffer[] = [];
    for await (const block of inUtf8(cutInto(Buffer.from("a"), 1), "file")) blocks.push(block);
    assert.equal(Buffer.concat(blocks).toString(), "a");
  });
});
