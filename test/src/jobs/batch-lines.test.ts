import assert from "node:assert/strict";

import fc from "fast-check";

import { type BatchLine, isAsked, MAX_ID_LENGTH, parseLine } from "../../../src/jobs/batch-lines.js";
import { MAX_LINE_BYTES } from "../../../src/jobs/file-lines.js";

const parse = (content: string | Buffer | null, number = 3): BatchLine | null => {
  const bytes = content === null ? null : Buffer.from(content as string);
  return parseLine({ number, bytes, end: 0, complete: true });
};
const refusal = (content: string | Buffer | null): string => {
  const line = parse(content)!;
  assert.ok(!isAsked(line), JSON.stringify(line));
  assert.equal(line.error.name, "InputError");
  return line.error.message;
};

describe("a line of a batch", () => {
  it("holds an id, a picture or several, and a prompt; other fields are passed over", () => {
    assert.deepEqual(parse('{"id":"a","image":"x.png","prompt":"caption en","answer":[1]}'), {
      id: "a",
      number: 3,
      prompt: "caption en",
      images: ["x.png"],
    });
    assert.deepEqual((parse('{"image":["x.png","y.png"],"prompt":""}') as { images: string[] }).images, [
      "x.png",
      "y.png",
    ]);
  });

  it("has the number of the line as id where it has none, and a whole number as text", () => {
    assert.equal(parse('{"image":"x","prompt":"p"}', 12)!.id, "12");
    assert.equal(parse('{"id":9007199254740991,"image":"x","prompt":"p"}')!.id, "9007199254740991");
    assert.equal(parse('{"id":-0,"image":"x","prompt":"p"}')!.id, "0");
  });

  it("may end with a carriage return, and the first may begin with a byte order mark", () => {
    assert.ok(isAsked(parse('{"image":"x","prompt":"p"}\r')!));
    assert.ok(isAsked(parse('\uFEFF{"image":"x","prompt":"p"}', 1)!));
    assert.match(refusal('\uFEFF{"image":"x","prompt":"p"}'), /no JSON/);
  });

  it("of white space is no line", () => {
    for (const text of ["", " \t", "\r"]) assert.equal(parse(text), null);
  });

  for (const [what, content, message] of [
    ["no JSON", "{", /^line: expected a JSON object, received no JSON \(/],
    ["two objects", "{}{}", /received no JSON/],
    ["a list", "[1]", /received a list$/],
    ["null", "null", /received null$/],
    ["text", '"a"', /received a JSON string$/],
    ["other bytes than UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), /^line: expected UTF-8/],
    ["a cut character", Buffer.from("é").subarray(0, 1), /^line: expected UTF-8/],
    ["UTF-16", Buffer.from("\uFEFF{}", "utf16le"), /^line: expected UTF-8/],
    ["more than is kept", null, new RegExp(`^line: expected at most ${MAX_LINE_BYTES} bytes`)],
    ["no prompt", '{"image":"x"}', /^prompt: expected text, received nothing$/],
    ["a prompt that is no text", '{"image":"x","prompt":["p"]}', /^prompt: expected text, received a list$/],
    ["no picture", '{"prompt":"p"}', /^image: expected a path or a list of paths, received nothing$/],
    ["an empty path", '{"image":"","prompt":"p"}', /received an empty path$/],
    ["an empty list", '{"image":[],"prompt":"p"}', /received an empty list$/],
    ["null for a picture", '{"image":null,"prompt":"p"}', /received null$/],
    ["a picture in a list that is none", '{"image":["x",{}],"prompt":"p"}', /received a JSON object$/],
    ["an id that is no name", '{"id":1.5,"image":"x","prompt":"p"}', /^id: expected .* received a JSON number$/],
    ["an id too large for a number", '{"id":9007199254740993,"image":"x","prompt":"p"}', /^id: /],
    ["an id of null", '{"id":null,"image":"x","prompt":"p"}', /^id: .* received null$/],
    ["an empty id", '{"id":"","image":"x","prompt":"p"}', /^id: .* received 0 characters$/],
    [
      "a long id",
      `{"id":"${"i".repeat(MAX_ID_LENGTH + 1)}","image":"x","prompt":"p"}`,
      /^id: .* received 1025 characters$/,
    ],
    ["fields of a prototype", '{"__proto__":{"image":"x","prompt":"p"}}', /^prompt: expected text, received nothing$/],
    ["a mebibyte of brackets", "[".repeat(MAX_LINE_BYTES), /received no JSON/],
    ["brackets within brackets", "[".repeat(MAX_LINE_BYTES / 2) + "]".repeat(MAX_LINE_BYTES / 2), /received a list$/],
  ] as const) {
    it(`with ${what} is refused`, () => assert.match(refusal(content), message));
  }

  it("keeps its id where something else is wrong with it", () => {
    assert.equal(parse('{"id":"a","image":"x"}')!.id, "a");
    assert.equal(parse('{"id":"a","prompt":"p","image":{"url":"x"}}')!.id, "a");
    assert.equal(parse('{"id":{},"prompt":"p","image":"x"}', 8)!.id, "8");
  });

  it("never throws, whatever its bytes or its JSON", () => {
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
      fc.json(),
      fc
        .record({ id: fc.jsonValue(), image: fc.jsonValue(), prompt: fc.jsonValue() }, { requiredKeys: [] })
        .map((value) => JSON.stringify(value)),
    );
    fc.assert(
      fc.property(any, fc.integer({ min: 1 }), (content, number) => {
        const line = parse(content, number);
        if (line === null) return;
        assert.equal(line.number, number);
        assert.ok(line.id.length > 0);
        if (isAsked(line)) assert.ok(line.images.length > 0 && line.images.every((image) => image !== ""));
      }),
      { numRuns: 2000 },
    );
  });
});
