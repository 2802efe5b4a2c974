import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";

import { HOOKS_PAGE, hooksPage } from "./hooks-page.js";

describe("docs/hooks.md", () => {
  it("is what `npm run docs:hooks` makes of the catalogue", async () => {
    assert.equal(readFileSync(HOOKS_PAGE, "utf8"), await hooksPage(), "run: npm run docs:hooks");
  });
});
