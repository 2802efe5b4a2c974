import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

import sharp from "sharp";

import { maskArea } from "../../../src/masks/mask.js";
import { decodeRunLengths } from "../../../src/masks/run-lengths.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { longOnCpu, onEachBackend } from "../../support/backends.js";
import { cli } from "../../support/run-cli.js";
import { tinyFolder } from "../../support/tiny.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");

describe("commands of the tasks", () => {
  let scratch: string;
  before(() => {
    scratch = mkdtempSync(path.join(tmpdir(), "paligemma-cli-"));
  });
  after(() => rmSync(scratch, { recursive: true }));

  onEachBackend(longOnCpu("on the demo checkpoint"), (backend) => {
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

    it("a picture may be an address: file: and data: always, http where it is to be fetched", async () => {
      const asked = "what color is the heart?";
      const data = `data:image/png;base64,${readFileSync(picture).toString("base64")}`;
      for (const address of [pathToFileURL(picture).href, data])
        assert.equal(await run("answer", address, asked), "yellow\n");
      const server = createServer((_, response) => response.end(readFileSync(picture)));
      await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
      try {
        const http = `http://127.0.0.1:${(server.address() as AddressInfo).port}/heart.png`;
        const { code, stderr } = await cli("answer", http, asked, "--backend", backend);
        assert.equal(code, 1);
        assert.match(stderr, /heart\.png: pictures are not fetched .*--fetch-pictures/);
        assert.equal(await run("answer", http, asked, "--fetch-pictures"), "yellow\n");
        const scored = await run("score", http, "yellow", "red", "--prompt", `answer en ${asked}`, "--fetch-pictures");
        assert.match(scored, /\nyellow +-?\d/);
      } finally {
        server.closeAllConnections();
        server.close();
      }
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
        /^label +score +left top right bottom\n(star|circle) +0\.\d+ /,
      );
      const { objects } = JSON.parse(await run("detect", picture, "circle", "star", "--format", "json"));
      const labels = (objects as { label: string }[]).map(({ label }) => label);
      assert.deepEqual([...labels].sort(), ["circle", "star"]);
      const circle = objects[labels.indexOf("circle")];
      const coco = JSON.parse(await run("detect", picture, "circle", "star", "--format", "coco"));
      assert.deepEqual(
        coco.map((one: { category_id: number }) => one.category_id),
        labels.map((label) => (label === "circle" ? 1 : 2)),
      );
      const yolo = await run("detect", picture, "circle", "star", "--format", "yolo");
      assert.match(yolo, /^[01] 0\.\d{6} 0\.\d{6} 0\.\d{6} 0\.\d{6}\n[01] /);
      assert.equal(yolo[0], labels[0] === "circle" ? "0" : "1");
      const { data, info } = await sharp(out).removeAlpha().raw().toBuffer({ resolveWithObject: true });
      assert.deepEqual([info.width, info.height], [224, 224]);
      // The left edge of the circle's box: the picture is black there, and the drawing is not.
      const { left, top, bottom } = circle.box;
      const at = 3 * (Math.round((top + bottom) / 2) * 224 + Math.round(left));
      assert.ok(data[at] + data[at + 1] + data[at + 2] > 150, `${data.subarray(at, at + 3)}`);
    });

    it("segment prints a table, JSON and COCO, draws, and writes a map of all masks of the picture's size", async () => {
      const [out, masks] = [path.join(scratch, `masks-${backend}.svg`), path.join(scratch, `masks-${backend}`)];
      const args = ["segment", picture, "circle", "--max-new-tokens", "60"];
      const table = await run(...args, "--out", out, "--masks", masks);
      const [, pixels] = /^label +score +left top right bottom +pixels\ncircle .* (\d+)\n-> .*\.svg\n$/.exec(table)!;
      const svg = readFileSync(out, "utf8");
      assert.equal(svg.match(/href="data:image\/png;base64,/g)!.length, 2);
      assert.ok(!/href="(?!data:)/.test(svg), "needs no other file");
      for (const [file, value] of [
        ["1.png", 255],
        ["labels.png", 1],
      ] as const) {
        const read = sharp(path.join(masks, file)).toColourspace("b-w").raw();
        const { data, info } = await read.toBuffer({ resolveWithObject: true });
        assert.deepEqual([info.width, info.height, info.channels], [224, 224, 1]);
        assert.equal(data.filter((byte) => byte === value).length, Number(pixels), file);
        assert.ok(data.every((byte) => byte === value || byte === 0));
      }
      const { objects } = JSON.parse(await run(...args, "--format", "json"));
      assert.equal(maskArea(decodeRunLengths(objects[0].mask)), Number(pixels));
      const [coco] = JSON.parse(await run(...args, "--format", "coco"));
      assert.deepEqual([coco.category_id, coco.segmentation], [1, objects[0].mask]);
      await run(...args, "--soft", "--masks", masks);
      const soft = await sharp(path.join(masks, "1.png")).toColourspace("b-w").raw().toBuffer();
      assert.ok(new Set(soft).size > 10, "edges between 0 and 255");
    });
  });

  for (const [what, args, message] of [
    ["a language that none was trained with", ["caption", picture, "--language", "xx"], /language: expected one of ar/],
    ["a name with a separator", ["detect", picture, "a ; b"], /things: expected names without ";"/],
    [
      "a drawing of another kind",
      ["detect", picture, "star", "--out", "boxes.gif"],
      /boxes\.gif: expected a file that ends in \.png or \.svg/,
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
    [
      "a drawing in a folder that is not there",
      ["detect", picture, "star", "--out", "nowhere/boxes.png"],
      /nowhere\/boxes\.png: there is no folder nowhere; make it first/,
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
