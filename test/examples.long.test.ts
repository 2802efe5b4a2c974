import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const root = fileURLToPath(new URL("../", import.meta.url));

/** What an example prints. */
async function printed(name: string): Promise<string> {
  const file = path.join(root, "examples", `${name}.ts`);
  const { stdout } = await promisify(execFile)(process.execPath, ["--import", "tsx", file], { cwd: root });
  return stdout;
}

/** The number before the words that follow it. */
function number(text: string, pattern: RegExp): number {
  const found = pattern.exec(text);
  assert.ok(found, `expected ${pattern} in:\n${text}`);
  return Number(found[1]);
}

describe("examples", () => {
  it("the attention of a colour answer lies on the asked shape, many times its share of the picture", async () => {
    const text = await printed("where-it-looks");
    const [area, share] = [number(text, /covers ([\d.]+) %/), number(text, /mean of all blocks and heads: ([\d.]+) %/)];
    assert.ok(area < 12 && share > 50, text);
    assert.ok(number(text, /blocks and heads:.*there in ([\d.]+) %/) > 75, text);
  });
  it("without the edges from the picture most answers change, and the asked shape counts more than another", async () => {
    const text = await printed("knock-out");
    assert.ok(number(text, /picture ([\d.]+) % of/) > 70, text);
    const loss = (what: string) => number(text, new RegExp(`from ${what}: the right answer loses (-?[\\d.]+) nats`));
    assert.ok(loss("the whole picture") > 1, text);
    assert.ok(loss("the asked shape") > 0.1 && Math.abs(loss("another shape")) < loss("the asked shape") / 20, text);
  });
  it("a red circle's rows make a blue circle red, and later blocks hold the colour in the text", async () => {
    const text = await printed("red-into-blue");
    assert.match(text, /red circle: red; blue circle: blue/);
    assert.match(text, /with the rows of the red one: red/);
    assert.ok(number(text, /\n0 +(-?\d+) %/) > 80 && number(text, /\n3 +(-?\d+) %/) < 40, text);
    assert.ok(number(text, /\n3 +-?\d+ % +-?\d+ % +(-?\d+) %/) > 60, text);
  });
  it("the lens over patches names a token at each, and marks the vision tower as extrapolated", async () => {
    const text = await printed("lens-over-patches");
    assert.match(text, /vision tower, extrapolated: entropy/);
    assert.equal(text.split("\n").filter((line) => /^block/.test(line)).length, 2);
  });
  it("a linear probe reads colours off the projector's rows of pictures that it has not seen", async () => {
    assert.ok(number(await printed("linear-probe"), /not seen: ([\d.]+) %/) > 85);
  });
});
