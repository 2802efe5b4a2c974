import { strict as assert } from "node:assert";
import { appendFileSync, cpSync, mkdirSync, rmSync } from "node:fs";
import path from "node:path";

import { packageRoot } from "../../src/base/package-root.js";
import { BROWSER_PARTS, bundleForBrowser } from "../browser/bundle.js";
import { cruiseProduct, importsBetweenRooms, roomsInCircles } from "./graph.js";

/** What a line at the end of a file breaks. */
const MISTAKES: readonly (readonly [rule: string, file: string, line: string])[] = [
  ["model-imports-downwards-only", "src/model/segments.ts", 'import "../cli/terminal.js";'],
  ["hooks-imports-downwards-only", "src/hooks/edit.ts", 'import type {} from "../paligemma.js";'],
  ["paligemma-imports-downwards-only", "src/paligemma.ts", 'import type {} from "./inspection/metric.js";'],
  ["setup-is-a-command", "src/jobs/shard.ts", 'import "../setup/tools.js";'],
  ["every-file-has-a-room", "src/cli/terminal.ts", 'import "../loose.js";'],
  ["nothing-imports-a-door", "src/cli/score.ts", 'import type {} from "../index.js";'],
  ["layers-are-mathematics", "layers/axes.ts", 'import "node:fs";'],
  ["weights-are-bytes", "weights/dtype.ts", 'import "../layers/axes.js";'],
  ["no-circles", "src/decoding/sampling.ts", 'import type {} from "./token-rule.js";'],
];

describe("the rooms", () => {
  it("import downwards only, and none lies on a circle", async () => {
    const product = await cruiseProduct();
    assert.deepEqual(
      product.summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`),
      [],
    );
    assert.ok(product.summary.totalCruised > 400);
    assert.deepEqual(roomsInCircles(importsBetweenRooms(product)), []);
  });

  it("a circle is found, however long", () => {
    assert.deepEqual(roomsInCircles(new Map([["base model", 1], ["model hooks", 2], ["hooks base", 1], ["cli base", 3]])), ["base", "model", "hooks"]); // prettier-ignore
  });

  it("each rule finds an import that breaks it", async () => {
    const copy = path.join(packageRoot(), ".mutants", String(process.pid), "rooms");
    try {
      for (const part of ["src", "layers", "weights", "tsconfig.json", "package.json"]) {
        mkdirSync(copy, { recursive: true });
        cpSync(path.join(packageRoot(), part), path.join(copy, part), {
          recursive: true,
          filter: (file) => !file.includes("/weights/demo"),
        });
      }
      appendFileSync(path.join(copy, "src", "loose.ts"), "export {};\n");
      appendFileSync(path.join(copy, "src", "decoding", "token-rule.ts"), 'import type {} from "./sampling.js";\n');
      for (const [, file, line] of MISTAKES) appendFileSync(path.join(copy, file), `${line}\n`);
      const { summary } = await cruiseProduct(copy);
      assert.deepEqual(
        [...new Set(summary.violations.map(({ rule: { name } }) => name))].sort(),
        MISTAKES.map(([rule]) => rule).sort(),
      );
      for (const [rule, file] of MISTAKES) {
        assert.ok(
          summary.violations.some(({ rule: { name }, from }) => name === rule && from.endsWith(file)),
          `${rule} overlooks ${file}`,
        );
      }
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
});

describe("a bundle for a browser", () => {
  for (const [part, files] of Object.entries(BROWSER_PARTS)) {
    it(`${part} leaves nothing unresolved`, async () => {
      const { own, libraries } = await bundleForBrowser(files);
      assert.ok(own > 10_000 && own < 200_000, `${own} bytes`);
      assert.ok(libraries > own, `${libraries} bytes of TensorFlow.js`);
    });
  }

  it("is refused with a module of Node in it, which is named", () =>
    assert.rejects(bundleForBrowser(["weights/source.ts"]), /weights\/plain-file\.ts.*Could not resolve "node:fs"/));
});
