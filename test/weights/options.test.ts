import assert from "node:assert/strict";

import {
  abortSignal,
  anything,
  described,
  either,
  faultOfOptions,
  flag,
  list,
  listOf,
  nearestName,
  number,
  oneOf,
  text,
  textOrTexts,
} from "../../weights/options.js";

const KNOWN = ["maxNewTokens", "topK", "temperature", "stopStrings", "edits", "dtype", "repetitionPenalty", "signal"];

describe("weights/options", () => {
  for (const [asked, known] of [
    ["max_new_tokens", "maxNewTokens"],
    ["MAXNEWTOKENS", "maxNewTokens"],
    ["maxTokens", "maxNewTokens"],
    ["top_k", "topK"],
    ["temprature", "temperature"],
    ["edit", "edits"],
    ["temp", "temperature"],
    ["torchDtype", "dtype"],
    ["repetition-penalty", "repetitionPenalty"],
    ["stopTokenIds", "stopStrings"],
    ["doSample", null],
    ["", null],
  ] as const) {
    it(`the known name nearest to "${asked}" is ${known}`, () => assert.equal(nearestName(asked, KNOWN), known));
  }

  it("an unknown name is told with the nearest, or with all where none is near", () => {
    const kinds = { topK: number, signal: abortSignal };
    assert.equal(faultOfOptions("call", { topk: 1 }, kinds), 'call: unknown option "topk"; did you mean "topK"?');
    assert.equal(faultOfOptions("call", { quiet: 1 }, kinds), 'call: unknown option "quiet"; there are topK, signal');
    assert.match(faultOfOptions("call", { quiet: undefined }, kinds)!, /unknown option "quiet"/);
    assert.match(faultOfOptions("call", Object.create({ quiet: 1 }) as object, kinds)!, /unknown option "quiet"/);
    assert.match(faultOfOptions("call", { __proto__: null, constructor: 1 }, kinds)!, /unknown option "constructor"/);
    assert.equal(faultOfOptions("call", { topK: undefined }, kinds), null);
  });

  for (const value of [
    null,
    undefined,
    5,
    "x",
    [],
    () => {},
    new Map(),
    Promise.resolve(),
    new AbortController().signal,
  ]) {
    it(`${described(value)} is no object of options`, () => {
      assert.match(faultOfOptions("call", value, { topK: number })!, /^call: expected an object such as \{ topK \}/);
    });
  }

  it("options of another realm and without a prototype are options", () => {
    assert.equal(faultOfOptions("call", Object.assign(Object.create(null), { topK: 3 }), { topK: number }), null);
  });

  for (const [kind, right, wrong] of [
    [flag, [true, false], ["true", 0, null]],
    [text, ["", "x"], [5, ["x"], null]],
    [number, [0, -1.5, NaN], ["3", 3n, null]],
    [list, [[], [1]], ["ab", { length: 1 }, null]],
    [listOf(text, "texts"), [[], ["a"]], [["a", 1], "a"]],
    [textOrTexts, ["a", ["a", "b"], []], [5, [5], null]],
    [oneOf("a", 1, null), ["a", 1, null], ["b", 2, false]],
    [either(text, number), ["a", 1], [true, null]],
    [abortSignal, [new AbortController().signal], [new AbortController(), {}, "abort", null]],
    [anything, [null, 5], []],
  ] as const) {
    it(`${kind.expected}: takes what it says`, () => {
      for (const value of right) assert.equal(faultOfOptions("f", { x: value }, { x: kind }), null, described(value));
      for (const value of wrong) {
        assert.match(
          faultOfOptions("f", { x: value }, { x: kind })!,
          /^f: x: expected .*, received /,
          described(value),
        );
      }
    });
  }

  it("what was received is told in few words, whatever it is", () => {
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    for (const value of [
      circular,
      5n,
      Symbol("s"),
      "x".repeat(1e6),
      new Uint8Array(1e6),
      Array(1e6).fill(1),
      () => {},
    ]) {
      assert.ok(described(value).length < 90, String(described(value)));
    }
    assert.equal(described(new Float32Array(3)), "an object of the kind Float32Array");
  });
});
