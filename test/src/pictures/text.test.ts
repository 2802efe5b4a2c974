import assert from "node:assert/strict";

import { escapeMarkup } from "../../../src/pictures/markup.js";
import { numberText, shortText, visibleText } from "../../../src/pictures/page/text.js";

describe("visibleText", () => {
  it("spells out what cannot be seen and leaves letters of every script", () => {
    assert.equal(visibleText("a\nb\tc\0d\u202ee\ud800f\u2028g"), "a↵b⇥c\\u0000d\\u202ee\\ud800f\\u2028g");
    assert.equal(visibleText("naïve ▁日本 مرحبا 👩‍👧 <loc0001>"), "naïve ▁日本 مرحبا 👩‍👧 <loc0001>");
  });
});

describe("shortText", () => {
  it("cuts between characters, never inside one", () => {
    assert.equal(shortText("😀😀😀", 3), "😀😀😀");
    assert.equal(shortText("😀😀😀😀", 3), "😀😀…");
  });
});

describe("escapeMarkup", () => {
  it("leaves nothing that ends a tag, an attribute or a script", () => {
    assert.equal(escapeMarkup(`</script>"'&\u0000`), "&lt;/script&gt;&quot;&#39;&amp;\\u0000");
  });
});

describe("numberText", () => {
  it("has three significant digits, and powers of ten for what is tiny or huge", () => {
    const numbers = [0, 0.41234, 17, -0.5, 0.00099, 123456];
    assert.deepEqual(numbers.map(numberText), ["0", "0.412", "17", "-0.5", "9.9e-4", "1.2e+5"]);
  });
});
