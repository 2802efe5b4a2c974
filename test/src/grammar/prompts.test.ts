import assert from "node:assert/strict";

import { InputError } from "../../../src/base/errors.js";
import { LANGUAGES } from "../../../src/grammar/languages.js";
import {
  answerPrompt,
  boxCaptionPrompt,
  captionPrompt,
  detectPrompt,
  ocrPrompt,
  promptHint,
  questionPrompt,
  segmentPrompt,
} from "../../../src/grammar/prompts.js";

describe("prompts of the tasks", () => {
  it("are worded as the checkpoints were trained", () => {
    assert.deepEqual(
      [
        captionPrompt(),
        captionPrompt("de", "describe"),
        captionPrompt("quz", "cap"),
        ocrPrompt(),
        answerPrompt(" where is the cow? "),
        questionPrompt("beach", "fr"),
        detectPrompt("circle", "red square"),
        segmentPrompt("cat"),
        boxCaptionPrompt([0, 12, 500, 1023]),
      ],
      [
        "caption en",
        "describe de",
        "cap quz",
        "ocr",
        "answer en where is the cow?",
        "question fr beach",
        "detect circle ; red square",
        "segment cat",
        "caption <loc0000><loc0012><loc0500><loc1023>",
      ],
    );
  });

  it("there are 35 languages and Quechua, each once", () => {
    assert.equal(LANGUAGES.length, 36);
    assert.equal(new Set(LANGUAGES).size, 36);
  });

  const wrong: [string, () => unknown, RegExp][] = [
    ["a language that none was trained with", () => captionPrompt("xx"), /expected one of ar, bn.*received "xx"/],
    ["another style", () => captionPrompt("en", "essay" as never), /style: expected one of cap/],
    ["no question", () => answerPrompt("  "), /question: expected some text/],
    ["a question of two lines", () => answerPrompt("a\nb"), /one line/],
    ["nothing to detect", () => detectPrompt(), /at least one/],
    ["a name with a separator", () => detectPrompt("a ; b"), /without ";"/],
    ["a box beyond the picture", () => boxCaptionPrompt([0, 0, 1024, 5]), /\[0, 1024\)/],
  ];
  for (const [what, make, message] of wrong) {
    it(`${what} is an error`, () =>
      assert.throws(make, (error: Error) => error instanceof InputError && message.test(error.message)));
  }

  it("a hint is given for what looks like a misspelt task, and for nothing else", () => {
    for (const prompt of [
      "detct cat",
      "dtect cat",
      "Detect cat",
      "captoin en",
      "anwser en what?",
      "segmnt cat",
      "describ en",
    ]) {
      assert.match(promptHint(prompt) ?? "none", /is no task; ".*" is/, prompt);
    }
    assert.match(promptHint("caption english")!, /followed by a language code, and "english" is none/);
    assert.match(promptHint("answer what is this?")!, /"what" is none/);
    for (const prompt of [
      "",
      "caption en",
      "what is this?",
      "detect cat",
      "ocr",
      "a cat",
      "protect the cat",
      "caption <loc0000><loc0012><loc0500><loc1023>",
    ]) {
      assert.equal(promptHint(prompt), null, prompt);
    }
  });
});
