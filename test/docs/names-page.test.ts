import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import path from "node:path";

import { packageRoot } from "../../src/base/package-root.js";
import { type DocumentedName, namesOfDoors, namesPage } from "./names-page.js";

/** The most names that the first door may have. */
const MOST = 80;

describe("the names that the package exports", () => {
  let names: Map<string, DocumentedName[]>;
  before(() => (names = namesOfDoors()));

  it(`are at most ${MOST} at the first door, and stand in a written list there`, () => {
    const count = names.get("paligemma-tfjs")!.length;
    assert.ok(count > 40 && count <= MOST, `${count} names`);
    for (const door of ["src/index.ts", "src/doors/inspection.ts", "src/doors/model.ts", "layers/index.ts"]) {
      assert.doesNotMatch(readFileSync(path.join(packageRoot(), door), "utf8"), /export \*/, door);
    }
  });

  it("each have a doc comment", () => {
    for (const [door, list] of names) {
      const bare = list.filter(({ sentence }) => sentence === "").map(({ name, file }) => `${name} (${file})`);
      assert.deepEqual(bare, [], door);
    }
  });

  it("each mean one thing, at whatever door", () => {
    const places = new Map<string, Set<string>>();
    for (const { name, file } of [...names.values()].flat()) {
      places.set(name, (places.get(name) ?? new Set()).add(file));
    }
    const ambiguous = [...places]
      .filter(([, files]) => files.size > 1)
      .map(([name, files]) => `${name}: ${[...files].join(", ")}`);
    assert.deepEqual(ambiguous, []);
  });

  it("stand in docs/names.md as `npm run docs:names` writes it", async () => {
    assert.equal(readFileSync(path.join(packageRoot(), "docs", "names.md"), "utf8"), await namesPage());
  });
});
