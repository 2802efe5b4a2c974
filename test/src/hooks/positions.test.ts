import assert from "node:assert/strict";

import { InputError } from "../../../src/base/errors.js";
import { resolvePositions, type Row } from "../../../src/hooks/positions.js";

describe("positions", () => {
  const row: Row = {
    length: 11,
    prompt: 9,
    segments: [
      { name: "pad", start: 0, end: 2 },
      { name: "image", start: 2, end: 5 },
      { name: "bos", start: 5, end: 6 },
      { name: "prefix", start: 6, end: 8 },
      { name: "newline", start: 8, end: 9 },
    ],
  };
  const cases: [Parameters<typeof resolvePositions>[0], number[]][] = [
    [3, [3]],
    [-1, [10]],
    ["-2", [9]],
    ["2:4", [2, 3]],
    [":2", [0, 1]],
    ["-3:", [8, 9, 10]],
    ["image", [2, 3, 4]],
    ["last", [10]],
    ["generated", [9, 10]],
    ["suffix", []],
    [
      ["bos", 1, "5:7"],
      [1, 5, 6],
    ],
  ];
  for (const [selector, expected] of cases) {
    it(`${JSON.stringify(selector)} is ${expected.join(", ") || "none"}`, () =>
      assert.deepEqual(resolvePositions(selector, row), expected));
  }
  it("the last position of a prompt is the last that is no padding", () => {
    const padded: Row = {
      length: 6,
      prompt: 6,
      segments: [
        { name: "prefix", start: 0, end: 4 },
        { name: "pad", start: 4, end: 6 },
      ],
    };
    assert.deepEqual(resolvePositions("last", padded), [3]);
  });
  for (const wrong of [11, -12, 1.5, "4:2", "3:12", "picture", "", {}, null, [[1]]]) {
    it(`${JSON.stringify(wrong)} is an error that says what is possible`, () =>
      assert.throws(
        () => resolvePositions(wrong as never, row),
        (error: Error) => error instanceof InputError && /expected/.test(error.message),
      ));
  }
});
