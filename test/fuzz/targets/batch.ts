import assert from "node:assert/strict";

import fc from "fast-check";

import { InputError } from "../../../src/base/errors.js";
import { isAsked, MAX_ID_LENGTH, parseLine } from "../../../src/jobs/batch-lines.js";
import { target } from "../fuzz.js";
import { byteEdits, editedBytes, editedJson, jsonEdits, utf8 } from "../mutations.js";

const LINES = [
  { id: "a7", image: "x.png", prompt: "answer en what?" },
  { id: 12, image: ["x.png", "y.jpg"], prompt: "caption", note: [1, { a: 2 }] },
];

/** Lines of a batch. Nothing is thrown, whatever they say. */
export const lines = target({
  name: "lines of a batch",
  share: 12,
  cases: fc.record({ line: fc.nat(1), json: jsonEdits(), bytes: byteEdits(1), number: fc.integer({ min: 1, max: 3 }) }),
  check: async ({ line, json, bytes, number }) => {
    const changed = Buffer.from(editedBytes(utf8(editedJson(LINES[line], json)), bytes));
    const read = parseLine({ number, bytes: changed, end: changed.length, complete: true });
    const text = changed.toString("utf8").replace(number === 1 ? /^\uFEFF/ : /^$/, "");
    if (read === null) return (assert.equal(text.trim(), ""), false);
    assert.ok(read.id.length > 0 && read.id.length <= MAX_ID_LENGTH && read.number === number);
    if (!isAsked(read)) return (assert.ok(read.error instanceof InputError && read.error.message.length > 10), false);
    const { id, prompt, image } = JSON.parse(text) as Record<string, unknown>;
    assert.equal(read.id, String(id ?? number));
    assert.equal(read.prompt, prompt);
    assert.deepEqual(read.images, Array.isArray(image) ? image : [image]);
    assert.ok(read.images.length > 0 && read.images.every((one) => typeof one === "string" && one !== ""));
    return true;
  },
});
