import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";

import type { BatchResult } from "../../../src/jobs/batch-result.js";
import { promptMark, ResultsFile } from "../../../src/jobs/results-file.js";
import { readAnswers, scratchFolder, writeLines } from "../../support/batch-files.js";

const answer = (id: string, prompt: string): BatchResult => ({
  id,
  prompt,
  text: "ein Stern – \u2028 ★",
  finishReason: "eos",
  promptTokens: 5,
  tokens: [1, 2],
});
const failure = (id: string): BatchResult => ({ id, error: { name: "InputError", message: "no" } });

describe("a file of answers", () => {
  const scratch = scratchFolder();
  const opened = async <T>(file: string, use: (results: ResultsFile) => Promise<T> | T): Promise<T> => {
    const results = await ResultsFile.open(file);
    try {
      return await use(results);
    } finally {
      await results.close();
    }
  };

  it("is made where there is none, and holds what was added, one line each", async () => {
    const file = scratch("new.jsonl");
    const both = [answer("a", "p\nq"), failure("b")];
    await opened(file, (results) => results.append(both));
    await opened(file, (results) => results.append([]));
    assert.deepEqual(readAnswers(file), both);
  });

  it("says which lines are done, and with which prompts", async () => {
    const file = scratch("done.jsonl");
    writeLines(file, [answer("a", "p"), failure("b"), answer("ü", "")]);
    assert.deepEqual(await opened(file, ({ done, cut }) => [[...done], cut]), [
      [
        ["a", promptMark("p")],
        ["b", null],
        ["ü", promptMark("")],
      ],
      0,
    ]);
    assert.notEqual(promptMark("p"), promptMark("q"));
  });

  it("cut at any byte of its last line, loses that line and no other, and takes it again", async () => {
    const file = scratch("cut.jsonl");
    writeLines(file, [answer("a", "p"), answer("b", "ö"), answer("c", "q")]);
    const whole = readFileSync(file);
    const last = whole.lastIndexOf(10, -2) + 1;
    for (let size = last; size < whole.length; size++) {
      writeFileSync(file, whole.subarray(0, size));
      await opened(file, async (results) => {
        assert.deepEqual([[...results.done.keys()], results.cut], [["a", "b"], size - last], `cut to ${size}`);
        await results.append([answer("c", "q")]);
      });
      assert.ok(readFileSync(file).equals(whole), `cut to ${size}`);
    }
  });

  it("that is not one is left as it is: another file was named by mistake", async () => {
    const file = scratch("other.jsonl");
    for (const line of [
      { id: "a", image: "x", prompt: "p" },
      { id: 1, text: "t", prompt: "p" },
      ["a"],
      "no JSON",
      null,
    ]) {
      writeLines(file, [answer("a", "p"), line]);
      writeFileSync(file, "half a li", { flag: "a" });
      const before = readFileSync(file);
      await assert.rejects(ResultsFile.open(file), {
        name: "InputError",
        message: /other\.jsonl: line 2 is no answer/,
      });
      assert.ok(readFileSync(file).equals(before));
    }
  });

  it("without a line break at its end is no answer unless it begins as one: another file is not cut to nothing", async () => {
    const file = scratch("unended");
    for (const content of ['{"model_type":"paligemma"}', "\u00ff\u00d8\u00ffpicture", '{ "id": "a"', "[", "notes"]) {
      writeFileSync(file, content);
      const opening = ResultsFile.open(file);
      await assert.rejects(opening, { name: "InputError", message: /unended: its last line is no answer of a batch/ });
      assert.equal(readFileSync(file, "utf8"), content);
    }
    writeLines(file, [answer("a", "p")]);
    writeFileSync(file, '{"model', { flag: "a" });
    await assert.rejects(ResultsFile.open(file), /its last line is no answer/);
    assert.match(readFileSync(file, "utf8"), /\n\{"model$/);
    for (const begun of ["{", '{"id', '{"id":"b","tex']) {
      writeLines(file, [answer("a", "p")]);
      writeFileSync(file, begun, { flag: "a" });
      const results = await ResultsFile.open(file);
      assert.equal(results.cut, begun.length);
      await results.close();
    }
  });

  it("cannot be a folder, a device, or in a folder that is not there", async () => {
    for (const [file, message] of [
      [scratch(), /cannot be written \(EISDIR\)/],
      [scratch("no", "out.jsonl"), /cannot be written \(ENOENT\)/],
      ["/dev/null", /expected a regular file/],
    ] as const) {
      await assert.rejects(ResultsFile.open(file), { name: "InputError", message });
    }
    assert.ok(!existsSync(scratch("no")));
  });

  it("that cannot be written any more says so", async () => {
    const results = await ResultsFile.open(scratch("closed.jsonl"));
    await results.close();
    await assert.rejects(results.append([failure("a")]), {
      name: "InputError",
      message: /closed\.jsonl: .* cannot be written/,
    });
  });
});
