import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import sharp from "sharp";

import { packageRoot } from "../../src/package-root.js";
import { onEachBackend } from "../support/backends.js";
import { cli } from "../support/run-cli.js";
import { tinyFolder } from "../support/tiny.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");

describe("commands of the tasks", () => {
  let scratch: string;
  before(() => {
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-cli-"));
  });
  after(() => rmSync(scratch, { recursive: true }));

  onEachBackend("on the demo checkpoint", (backend) => {
    const run = async (...args: string[]): Promise<string> => {
      const { code, stdout, stderr } = await cli(...args, "--backend", backend);
      assert.equal(code, 0, stderr);
      return stdout;
    };

    it("answer and caption ask as the checkpoint was trained", async () => {
      assert.equal(await run("answer", picture, "what color is the heart?"), "yellow\n");
      const { text, tokens } = JSON.parse(await run("caption", picture, "--json"));
      assert.match(text, /star/);
      assert.ok(tokens.length > 1);
      assert.notEqual(await run("caption", picture, "--language", "fr"), `${text}\n`);
    });

    it("score puts the right answer first", async () => {
      const args = ["score", picture, "green", "yellow", "red", "--prompt", "answer en what color is the heart?"];
      assert.match(await run(...args), /^answer +log-likelihood +tokens +perplexity\nyellow +-?\d/);
      const scored = JSON.parse(await run(...args, "--json"));
      assert.deepEqual(scored.map(({ answer }: { answer: string }) => answer)[0], "yellow");
      assert.ok(scored[0].logLikelihood > scored[1].logLikelihood + 1);
    });

    it("detect prints a table, JSON, COCO and YOLO, and draws the boxes on the shapes", async () => {
      const out = path.join(scratch, `${backend}.png`);
      assert.match(
        await run("detect", picture, "circle", "star", "--out", out),
        /^label +score +left top right bottom\nstar +0\.\d+ /,
      );
      const { objects } = JSON.parse(await run("detect", picture, "circle", "star", "--format", "json"));
      assert.deepEqual(
        objects.map(({ label }: { label: string }) => label),
        ["star", "circle"],
      );
      const coco = JSON.parse(await run("detect", picture, "circle", "star", "--format", "coco"));
      assert.deepEqual(
        coco.map((one: { category_id: number }) => one.category_id),
        [2, 1],
      );
      assert.match(
        await run("detect", picture, "circle", "star", "--format", "yolo"),
        /^1 0\.\d{6} 0\.\d{6} 0\.\d{6} 0\.\d{6}\n0 /,
      );
      const { data, info } = await sharp(out).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      assert.deepEqual([info.width, info.height], [224, 224]);
      // The left edge of the circle's box: the picture is black there, and the drawing is not.
      const { left, top, bottom } = objects[1].box;
      const at = 3 * (Math.round((top + bottom) / 2) * 224 + Math.round(left));
      assert.ok(data[at] + data[at + 1] + data[at + 2] > 150, `${data.subarray(at, at + 3)}`);
    });

    it("segment prints a table, JSON and COCO, draws, and writes a map of all masks of the picture's size", async () => {
      const [out, masks] = [path.join(scratch, `masks-${backend}.svg`), path.join(scratch, `masks-${backend}`)];
      const args = ["segment", picture, "circle", "--max-new-tokens", "60"];
      assert.match(await run(...args, "--out", out, "--masks", masks), /-> .*\.svg\n$/);
      assert.match(readFileSync(out, "utf8"), /^<svg .*data:image\/png;base64,/);
      const { width, height, channels } = await sharp(path.join(masks, "labels.png")).metadata();
      assert.deepEqual([width, height, channels], [224, 224, 1]);
      const { objects } = JSON.parse(await run(...args, "--format", "json"));
      assert.ok(Array.isArray(objects));
      assert.ok(Array.isArray(JSON.parse(await run(...args, "--format", "coco", "--soft"))));
    });
  });

  for (const [what, args, message] of [
    ["a language that none was trained with", ["caption", picture, "--language", "xx"], /language: expected one of ar/],
    ["a name with a separator", ["detect", picture, "a ; b"], /things: expected names without ";"/],
    [
      "a drawing of another kind",
      ["detect", picture, "star", "--out", "boxes.gif"],
      /boxes\.gif: expected a \.png or \.svg/,
    ],
    [
      "a model without weights of masks",
      ["segment", picture, "cat", "--model", tinyFolder("tiny-pg2")],
      /masks need vae-oid\.npz.*--mask-weights/,
    ],
    [
      "weights of masks that are not there",
      ["segment", picture, "cat", "--mask-weights", "nowhere.npz"],
      /nowhere\.npz: cannot be opened/,
    ],
    ["no picture", ["ocr", "nowhere.png"], /nowhere\.png/],
  ] as const) {
    it(`${what} is one sentence and exit code 1`, async () => {
      const { code, stdout, stderr } = await cli(...args, "--backend", "wasm");
      assert.deepEqual([code, stdout], [1, ""]);
      assert.match(stderr, message);
      assert.ok(!existsSync("boxes.gif"));
    });
  }
});
