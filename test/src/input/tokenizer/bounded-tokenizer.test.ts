import { strict as assert } from "node:assert";

import { boundedTokenizer } from "../../../../src/input/tokenizer/bounded-tokenizer.js";
import { InputError } from "../../../../src/base/errors.js";
import { PaliGemma } from "../../../../src/paligemma.js";
import { loadTokenizer, type Tokenizer } from "../../../../src/input/tokenizer/tokenizer.js";
import { openFolder } from "../../../../weights/source.js";
import { tinyFolder } from "../../../support/tiny.js";

const refused = (message: RegExp) => (error: unknown) => error instanceof InputError && message.test(error.message);

describe("a tokenizer for a model of so many positions", () => {
  let tokenizer: Tokenizer;
  let calls: number;
  /** Counts the characters that are tokenised. */
  const counting = (): Tokenizer => {
    calls = 0;
    const encode: Tokenizer["encode"] = (text, options) => {
      calls += text.length;
      return tokenizer.encode(text, options);
    };
    return Object.create(tokenizer, { encode: { value: encode } }) as Tokenizer;
  };
  before(async () => (tokenizer = await loadTokenizer(await openFolder(tinyFolder("tiny-pg2")))));

  it("gives the ids of the tokenizer, and everything else that it has", () => {
    const bounded = boundedTokenizer(tokenizer, 50_000);
    for (const text of ["", "a red square\n", "<loc0001> é ", "ab ".repeat(15_000)]) {
      assert.deepEqual(bounded.encode(text), tokenizer.encode(text));
      assert.deepEqual(
        bounded.encode(text, { specialTokens: "text" }),
        tokenizer.encode(text, { specialTokens: "text" }),
      );
    }
    assert.equal(bounded.decode([5, 6]), tokenizer.decode([5, 6]));
    assert.deepEqual([bounded.bosTokenId, bounded.kind], [tokenizer.bosTokenId, tokenizer.kind]);
    assert.throws(() => bounded.encode(3 as unknown as string), refused(/expected a string/));
  });

  it("refuses what is longer than all positions of the longest token, untouched", () => {
    const bounded = boundedTokenizer(counting(), 300);
    const expected =
      /^text: expected at most \d+ characters \(300 positions, tokens of at most \d+\), received 3000000/;
    assert.throws(() => bounded.encode("x".repeat(3e6)), refused(expected));
    assert.equal(calls, 0);
  });

  it("refuses what has too many tokens after a piece of it", () => {
    const bounded = boundedTokenizer(counting(), 8192);
    const expected = /^text: expected what fits into the 8192 positions of the model, received 60000 characters/;
    assert.throws(() => bounded.encode("\u{1f600}".repeat(30_000)), refused(expected));
    assert.equal(calls, 2 ** 15);
  });

  it("is that of a loaded model: prompts, suffixes, answers and words of 3 million characters are refused at once", async () => {
    const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend: "cpu" });
    const long = "long ".repeat(600_000);
    const image = { data: new Uint8Array(12), width: 2, height: 2 };
    const start = performance.now();
    const expected = refused(/^text: expected at most \d+ characters .*, received 300000\d/);
    await assert.rejects(model.generate({ image, prompt: long }), expected);
    await assert.rejects(model.score({ image, prompt: "a" }, [long]), expected);
    await assert.rejects(model.generate({ image, prompt: "a" }, { badWords: [long] }), expected);
    await assert.rejects(model.generate({ image, prompt: "a" }, { forcedPrefix: long }), expected);
    await assert.rejects(model.generate({ image, prompt: "a" }, { allowedTokens: { choices: [long] } }), expected);
    await assert.rejects(model.processor.process([image], ["a"], { suffix: [long] }), expected);
    assert.ok(performance.now() - start < 3000);
    model.dispose();
  });
});
