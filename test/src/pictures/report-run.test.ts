import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { decodeImage } from "../../../src/input/image/decode.js";
import { knockOut } from "../../../src/inspection/interventions.js";
import { reportRun } from "../../../src/pictures/report-run.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { checkReport } from "../../../src/pictures/report-data.js";
import { pngSize } from "../../../src/pictures/seen-picture.js";
import { leakFree, longOnCpu, onEachBackend } from "../../support/backends.js";
import { cli } from "../../support/run-cli.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");
const prompt = "answer en what color is the heart?";

onEachBackend(longOnCpu("the report of a run"), (backend) => {
  let model: PaliGemma;
  before(async () => {
    model = await PaliGemma.load(undefined, { backend });
    await model.generate({ image: picture, prompt: "caption en" });
  });
  after(() => model.dispose());

  leakFree("holds the answer, its probabilities, every text query and what knock-outs do", async () => {
    const data = await reportRun(model, { image: [await decodeImage(picture)], prompt });
    checkReport(data);
    assert.deepEqual([data.answer, data.tokens.length, data.steps.length], ["yellow", 76, 2]);
    assert.deepEqual(
      data.attention.queries,
      Array.from({ length: 11 }, (_, i) => 64 + i),
    );
    assert.deepEqual(
      data.logitLens!.positions,
      Array.from({ length: 10 }, (_, i) => 64 + i),
    );
    assert.equal(data.logitLens!.cells[3][9].top[0].text.trim(), "yellow");
    assert.ok(data.steps[0].probability > 0.5 && data.steps[0].position === 74);
    assert.deepEqual(pngSize(data.pictures[0].png, "picture"), { width: 112, height: 112 });
    const [last, text] = data.edits!;
    assert.deepEqual(last.edits, [knockOut({ from: "image", to: "last" })]);
    assert.equal(last.before, "yellow");
    assert.ok(text.deltaLogProbability! < -0.5, `${text.deltaLogProbability}`);
  });

  leakFree("with edits shows the edited run, and the answer without them beside it", async () => {
    const edits = [knockOut({ from: "image", to: ["bos", "prefix", "newline"] })];
    const data = await reportRun(model, { image: [await decodeImage(picture)], prompt, edits });
    assert.equal(data.edits![0].before, "yellow");
    assert.equal(data.edits![0].after, data.answer);
    assert.notEqual(data.answer, "yellow");
  });
});

describe("the command report", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "paligemma-report-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it("writes one page that asks for nothing from elsewhere, whatever the prompt says", async () => {
    const out = path.join(folder, "report.html");
    const hostile = 'caption en </script><script>alert("x")</script><img src=http://example.com/x>';
    const { code, stdout, stderr } = await cli(
      "report",
      picture,
      "--prompt",
      hostile,
      "--out",
      out,
      "--backend",
      "wasm",
      "--json",
    );
    assert.equal(code, 0, stderr);
    const page = readFileSync(out, "utf8");
    assert.equal(JSON.parse(stdout).bytes, Buffer.byteLength(page));
    // Booleans: a page of a megabyte is no message.
    assert.ok(!page.includes("<script>alert"));
    assert.ok(!/<[a-z]+\b[^>]*\b(src|href)=["']?(https?:)?\/\//.test(page), "something is asked for from elsewhere");
    assert.equal(page.split("</script>").length, page.split("<script").length);
  });
  it("refuses another ending before it runs", async () => {
    const { code, stderr } = await cli("report", picture, "--prompt", "ocr", "--out", path.join(folder, "report.pdf"));
    assert.equal(code, 1);
    assert.match(stderr, /expected a file that ends in \.html/);
    assert.ok(!existsSync(path.join(folder, "report.pdf")));
  });
});
