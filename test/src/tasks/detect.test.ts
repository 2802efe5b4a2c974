import assert from "node:assert/strict";
import path from "node:path";

import sharp from "sharp";

import { packageRoot } from "../../../src/base/package-root.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { iou, toPixels } from "../../../src/grammar/box.js";
import { readDetections } from "../../../src/tasks/detect.js";
import { toCoco, toYolo } from "../../../src/tasks/export-detections.js";
import { leakFree, longOnCpu, onEachBackend } from "../../support/backends.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");
const size = { width: 300, height: 100 };

describe("boxes", () => {
  it("scale each axis by its own side, by 1024 or so that the last location is the edge", () => {
    assert.deepEqual(toPixels([512, 256, 1024 - 256, 512], size), { left: 75, top: 50, right: 150, bottom: 75 });
    assert.deepEqual(toPixels([0, 0, 1023, 1023], size, 1023), { left: 0, top: 0, right: 300, bottom: 100 });
  });
  it("overlap by the part of their union that they share", () => {
    const a = { left: 0, top: 0, right: 10, bottom: 4 };
    assert.equal(iou(a, a), 1);
    assert.equal(iou(a, { left: 5, top: 0, right: 15, bottom: 4 }), 20 / 60);
    assert.equal(iou(a, { left: 10, top: 0, right: 15, bottom: 4 }), 0);
    assert.equal(iou({ ...a, right: 0 }, { ...a, right: 0 }), 0);
  });
});

onEachBackend(longOnCpu("detection"), (backend) => {
  let model: PaliGemma;
  before(async () => {
    model = await PaliGemma.load(undefined, { backend });
    await model.generate({ image: picture, prompt: "ocr" }, { maxNewTokens: 2 });
  });
  after(() => model.dispose());
  const written = (text: string) => model.tokenizer.encode(text, { specialTokens: "ids" });
  const read = (text: string, options = {}) => {
    const tokens = written(text);
    const logProbabilities = tokens.map((_, i) => Math.log(1 / (i + 2)));
    return readDetections({ tokens, logProbabilities, tokenizer: model.tokenizer, size }, options);
  };

  it("a score is the geometric mean of the probabilities of a box's own four locations", () => {
    const { objects } = read("<loc0100><loc0200><loc0300><loc0400> circle ; <loc0500><loc0600><loc0700><loc0800> star");
    assert.deepEqual(
      objects.map(({ label }) => label),
      ["circle", "star"],
    );
    assert.ok(Math.abs(objects[0].score - (1 / 2 / 3 / 4 / 5) ** 0.25) < 1e-6);
    assert.ok(objects[1].score < objects[0].score && objects[1].score > 0);
    assert.deepEqual(objects[0].locations, [100, 200, 300, 400]);
  });

  it("exact repetitions are dropped and said; near ones on request; other labels never", () => {
    const one = "<loc0100><loc0200><loc0300><loc0400> circle";
    const near = "<loc0101><loc0200><loc0300><loc0400> circle";
    const text = [one, one, near, one.replace("circle", "star")].join(" ; ");
    const { objects, warnings } = read(text);
    assert.deepEqual(
      objects.map(({ label }) => label),
      ["circle", "circle", "star"],
    );
    assert.match(warnings.join(), /repetition of "circle"/);
    assert.deepEqual(
      read(text, { maxOverlap: 0.9 }).objects.map(({ label }) => label),
      ["circle", "star"],
    );
  });

  it("objects become COCO results and YOLO lines", () => {
    const { objects } = read("<loc0512><loc0256><loc0768><loc0512> star ; <loc0000><loc0000><loc0512><loc0512> moon");
    const [coco, ...others] = toCoco(objects, 7, { star: 3 });
    assert.deepEqual([coco.image_id, coco.category_id, coco.bbox, others.length], [7, 3, [75, 50, 75, 25], 0]);
    assert.equal(
      toYolo(objects, size, ["moon", "star"]),
      "1 0.375000 0.625000 0.250000 0.250000\n0 0.250000 0.250000 0.500000 0.500000\n",
    );
  });

  leakFree("the demo checkpoint finds the shapes of a held-out picture, in its pixels", async () => {
    const { objects, warnings, text } = await model.detect(picture, ["circle", "star"]);
    assert.deepEqual(warnings, [], text);
    const found = new Map(objects.map((one) => [one.label, one]));
    const [top, left, bottom, right] = [0.625, 0.6875, 0.87946, 0.94196].map((part) => part * 224);
    assert.ok(iou(found.get("circle")!.box, { top, left, bottom, right }) > 0.75);
    assert.ok(found.get("star")!.score > 0.05 && found.get("star")!.score <= 1);
  });

  leakFree("boxes of a picture that is no square are in its own pixels, each axis by its own side", async () => {
    const wide = await sharp(picture).resize(448, 112, { fit: "fill" }).png().toBuffer();
    const reply = await model.ask(wide, "detect circle");
    const [top, bottom] = [0.625, 0.87946].map((part) => part * 112);
    const [left, right] = [0.6875, 0.94196].map((part) => part * 448);
    for (const { objects } of [await model.detect(wide, ["circle"]), reply.found!]) {
      assert.ok(iou(objects[0].box, { top, left, bottom, right }) > 0.75, JSON.stringify(objects));
    }
  });

  leakFree("questions by task answer as their prompts do", async () => {
    const plain = await model.generate({ image: picture, prompt: "answer en what color is the heart?" });
    const { text } = await model.answer(picture, "what color is the heart?");
    assert.deepEqual([text, plain.text], ["yellow", "yellow"]);
    assert.equal(
      (await model.caption(picture)).text,
      (await model.generate({ image: picture, prompt: "caption en" })).text,
    );
    assert.equal((await model.ocr(picture)).text, (await model.generate({ image: picture, prompt: "ocr" })).text);
  });

  leakFree(
    "the score of the greedy answer is the sum of its log-probabilities, and the right answer scores best",
    async () => {
      const question = { image: picture, prompt: "answer en what color is the heart?" };
      const { tokens, logProbabilities } = await model.generate(question, { logProbabilities: true });
      const scored = await model.score(question, ["green", "yellow", "orange", "a very long answer"]);
      assert.deepEqual(
        scored.map(({ answer }) => answer),
        ["green", "yellow", "orange", "a very long answer"],
      );
      const best = scored.reduce((top, one) => (one.logLikelihood > top.logLikelihood ? one : top));
      assert.deepEqual([best.answer, best.tokens], ["yellow", tokens]);
      const sum = logProbabilities!.reduce((total, value) => total + value, 0);
      assert.ok(Math.abs(best.logLikelihood - sum) < 5e-3, `${best.logLikelihood}, expected ${sum}`);
      assert.ok(Math.abs(Math.log(best.perplexity) * tokens.length + best.logLikelihood) < 1e-9);
      await assert.rejects(model.score(question, []), /answers: expected at least one/);
    },
  );

  leakFree("log-probabilities are those of the tokens, and cost no difference", async () => {
    const question = { image: picture, prompt: "describe en" };
    const [plain, asked] = [await model.generate(question), await model.generate(question, { logProbabilities: true })];
    assert.deepEqual(asked.tokens, plain.tokens);
    assert.equal(plain.logProbabilities, undefined);
    assert.equal(asked.logProbabilities!.length, asked.tokens.length);
    assert.ok(asked.logProbabilities!.every((value) => value <= 0 && value > -5));
  });
});
