import assert from "node:assert/strict";

import { MAX_JSON_DEPTH, parseJson, parseStrictJson } from "../../weights/json.js";
import { weightsError } from "./helpers.js";

const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);

describe("JSON from outside", () => {
  it("is read as deep as any model's, and refused beyond, where showing it would overflow", () => {
    assert.doesNotThrow(() => parseJson(nested(MAX_JSON_DEPTH), "file"));
    for (const parse of [parseJson, parseStrictJson]) {
      for (const depth of [MAX_JSON_DEPTH + 1, 100_000]) {
        assert.throws(() => parse(nested(depth), "file"), weightsError(/^file is nested more than 100 deep/));
      }
    }
    assert.equal(parseJson(JSON.stringify(nested(1000)), "file"), nested(1000), "brackets in a string are text");
  });

  it("may hold strings of many megabytes", () => {
    const long = '\\"'.repeat(6_000_000);
    assert.equal((parseStrictJson(`{"a":"${long}"}`, "file") as { a: string }).a.length, 6_000_000);
  });

  it("is refused with a key twice, however the key is written", () => {
    for (const text of ['{"a":1,"a":2}', '{"a":1,"\\u0061":2}', '[{"b":{"\\\\":1,"c":"\\"","\\\\":2}}]']) {
      assert.throws(() => parseStrictJson(text, "file"), weightsError(/twice/));
      assert.doesNotThrow(() => parseJson(text, "file"));
    }
    assert.doesNotThrow(() => parseStrictJson('[{"a":":","b":{"a":"{"}},{"a":1}]', "file"));
  });
});
