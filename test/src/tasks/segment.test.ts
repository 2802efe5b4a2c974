import assert from "node:assert/strict";
import path from "node:path";

import seedrandom from "seedrandom";

import { demoCheckpoint } from "../../../src/base/demo-checkpoint.js";
import { InputError } from "../../../src/base/errors.js";
import { maskAnswer } from "../../../src/masks/answer.js";
import { MaskCodec } from "../../../src/masks/codec.js";
import { type Mask, maskArea, maskIou } from "../../../src/masks/mask.js";
import { pasteHard, pasteSoft } from "../../../src/masks/paste.js";
import { decodeRunLengths } from "../../../src/masks/run-lengths.js";
import { packageRoot } from "../../../src/base/package-root.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { toCoco } from "../../../src/tasks/export-detections.js";
import type { DetectionSource } from "../../../src/tasks/detect.js";
import { readSegmentations } from "../../../src/tasks/segment.js";
import type { Tokenizer } from "../../../src/input/tokenizer/tokenizer.js";
import { openFile } from "../../../weights/source.js";
import { fixtures } from "../../parity/reference.js";
import { heldoutPictures } from "../../heldout/heldout.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { tinyFolder } from "../../support/tiny.js";

const picture = path.join(packageRoot(), "test", "heldout", "0004.png");
const weights = path.join(fixtures, "vqvae", "stored.npz");
const size = { width: 90, height: 60 };

const loc = (...values: number[]) => values.map((value) => `<loc${String(value).padStart(4, "0")}>`).join("");
const seg = (codes: number[]) => codes.map((value) => `<seg${String(value).padStart(3, "0")}>`).join("");
const codes = Array.from({ length: 16 }, (_, i) => (37 * i) % 128);
const others = codes.map((code) => (code * code) % 128);

/** An answer as a model would have written it: every token a token of its own, each of probability 1/2. */
function written(text: string, of = size): DetectionSource {
  const pieces = text.match(/<(?:loc\d{4}|seg\d{3})>|[^<]+|</g) ?? [];
  const tokenizer = {
    decode: (ids: number[]) => ids.map((id) => pieces[id]).join(""),
    idToToken: (id: number) => pieces[id],
  } as unknown as Tokenizer;
  const logProbabilities = pieces.map(() => Math.log(1 / 2));
  return { tokens: pieces.map((_, i) => i), logProbabilities, tokenizer, size: of };
}

async function codecOf(file: string): Promise<MaskCodec> {
  const source = await openFile(file);
  try {
    return await MaskCodec.load(source);
  } finally {
    await source.close();
  }
}

onEachBackend("segmentation", (backend) => {
  let codec: MaskCodec;
  before(async () => {
    codec = await codecOf(weights);
    await codec.decode([codes]);
  });
  after(() => codec.dispose());

  leakFree(
    "each object has the mask of its own codes in its own box, hard by default and soft on request",
    async () => {
      const [one, two] = [[100, 200, 900, 700], [3, 401, 1020, 711]] as [number, number, number, number][]; // prettier-ignore
      const text = `${loc(...one)}${seg(codes)} circle ; ${loc(...two)} ${seg(others)} red star`;
      const [first, second] = await codec.decode([codes, others]);
      const hard = await readSegmentations(written(text), codec);
      assert.deepEqual([hard.warnings, hard.texts, hard.text], [[], [], text]);
      assert.deepEqual(
        hard.objects.map(({ label, score, codes }) => [label, Math.round(1000 * score), codes]),
        [
          ["circle", 500, codes],
          ["red star", 500, others],
        ],
      );
      assert.deepEqual(hard.objects[0].mask, pasteHard(first, one, size));
      assert.deepEqual(hard.objects[1].mask, pasteHard(second, two, size));
      const soft = await readSegmentations(written(text), codec, { soft: true, divisor: 1023 });
      assert.deepEqual(soft.objects[1].mask, pasteSoft(second, two, size, 1023));
      assert.notDeepEqual(soft.objects[1].mask, pasteSoft(second, two, size), "the divisor makes a difference here");
      const [result] = toCoco(hard.objects, "p.png", { circle: 1 });
      assert.deepEqual(decodeRunLengths(result.segmentation!), hard.objects[0].mask);
    },
  );

  leakFree("an object without sixteen good codes keeps its box, has no mask, and a warning says why", async () => {
    for (const [what, wrong, reason] of [
      ["none", [], null],
      ["fifteen", codes.slice(1), /15 mask codes, expected 16/],
      ["one that is no row", [128, ...codes.slice(1)], /mask code 128, expected less than 128/],
    ] as const) {
      const text = `${loc(100, 200, 900, 700)}${seg([...wrong])} cat ; ${loc(1, 2, 1000, 900)}${seg(codes)} dog`;
      const { objects, warnings } = await readSegmentations(written(text), codec);
      assert.deepEqual(
        objects.map(({ label, codes, mask }) => [label, codes === null, mask === null]),
        [
          ["cat", true, true],
          ["dog", false, false],
        ],
        what,
      );
      assert.match(warnings.at(-1)!, /^"cat" at 100, 200, 900, 700 has no mask$/);
      assert.equal(warnings.length, reason ? 2 : 1);
      if (reason) assert.match(warnings[0], reason);
    }
  });

  leakFree("a box without a whole pixel has an empty mask, and that is said", async () => {
    const { objects, warnings } = await readSegmentations(
      written(`${loc(500, 500, 501, 501)}${seg(codes)} dot`),
      codec,
    );
    assert.deepEqual([objects[0].mask!.width, maskArea(objects[0].mask!)], [90, 0]);
    assert.deepEqual(warnings, ['"dot" at 500, 500, 501, 501 has an empty mask']);
  });

  leakFree("an answer without objects, and one that repeats itself, are read", async () => {
    const one = `${loc(100, 200, 900, 700)}${seg(codes)} cat`;
    assert.deepEqual((await readSegmentations(written("no cat"), codec)).objects, []);
    const { objects, warnings } = await readSegmentations(written(`${one} ; ${one}`), codec);
    assert.equal(objects.length, 1);
    assert.match(warnings.join(), /repetition of "cat"/);
  });

  leakFree("never throws for what a model may write", async () => {
    const random = seedrandom("masks");
    const below = (n: number) => Math.floor(random() * n);
    const piece = () =>
      [
        () => loc(below(1100)),
        () => loc(below(500), below(500), 500 + below(524), 500 + below(524)),
        () => seg([below(140)]),
        () => seg(Array.from({ length: 16 }, () => below(129))),
        () => [" ; ", " cat", "<", "", "\n"][below(5)],
      ][below(5)]();
    let masks = 0;
    for (let i = 0; i < 200; i++) {
      const { objects } = await readSegmentations(written(Array.from({ length: below(9) }, piece).join("")), codec);
      masks += objects.filter(({ mask }) => mask !== null).length;
    }
    assert.ok(masks > 10, `${masks} masks`);
  });

  it("fifty segmentations leave as many tensors as one", async () => {
    const source = written(Array.from({ length: 5 }, (_, i) => `${loc(i, 0, 900, 900)}${seg(codes)} a`).join(" ; "));
    await readSegmentations(source, codec);
    const before = counts();
    for (let i = 0; i < 50; i++) await readSegmentations(source, codec, { soft: i % 2 === 1 });
    assert.deepEqual(counts(), before);
  });

  describe("with the demo checkpoint", () => {
    let model: PaliGemma;
    before(async () => {
      model = await PaliGemma.load(undefined, { backend });
      await model.segment(picture, ["circle"], { maxNewTokens: 4 });
      const codec = await model.maskCodec();
      await codec.encode(await codec.decode([codes]));
    });
    after(() => model.dispose());

    const drawn = (inside: (x: number, y: number) => boolean): Mask => {
      const data = Uint8Array.from({ length: 120 * 80 }, (_, i) => (inside(i % 120, Math.floor(i / 120)) ? 255 : 0));
      return { data, width: 120, height: 80 };
    };
    for (const [label, mask] of [
      ["circle", drawn((x, y) => (x - 60) ** 2 + (y - 40) ** 2 < 900)],
      ["square", drawn((x, y) => x > 20 && x < 70 && y > 15 && y < 65)],
      ["triangle", drawn((x, y) => y > 10 && y < 70 && Math.abs(x - 50) < (y - 10) / 2)],
    ] as const) {
      leakFree(`a ${label} becomes codes and comes back`, async () => {
        const codec = await model.maskCodec();
        const text = await maskAnswer(codec, [{ mask, label }]);
        const { objects } = await readSegmentations(written(text, mask), codec, { divisor: 1023 });
        const iou = maskIou(objects[0].mask!, mask);
        assert.ok(objects[0].label === label && iou > 0.8, `${iou}`);
      });
    }

    leakFree("the shapes of a held-out picture have the masks that they were drawn with", async () => {
      const { items } = heldoutPictures().find(({ file }) => file === path.basename(picture))!;
      const { prompt, masks } = items.find(({ kind }) => kind === "segment")!;
      const { objects, warnings } = await model.segment(picture, prompt.replace("segment ", "").split(" ; "));
      assert.deepEqual(warnings, []);
      assert.equal(objects.length, masks!.length);
      for (const { label, counts } of masks!) {
        const { mask } = objects.find((one) => one.label === label)!;
        const overlap = maskIou(mask!, decodeRunLengths({ size: [224, 224], counts }));
        assert.ok(overlap > 0.75, `${label}: ${overlap}`);
      }
    });

    leakFree("an answer that ends too early keeps what was complete", async () => {
      const { objects, warnings } = await model.segment(picture, ["circle"], { maxNewTokens: 12 });
      assert.deepEqual(
        objects.map(({ mask }) => mask),
        [null],
      );
      assert.match(warnings[0], /8 mask codes, expected 16/);
    });

    it("prompts that are none are errors before anything is computed", async () => {
      await assert.rejects(model.segment(picture, []), /things: expected at least one/);
      await assert.rejects(model.segment(picture, ["a;b"]), /expected names without ";"/);
    });
  });

  it("a model without weights of masks says what to fetch and where to put it", async () => {
    const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
    const before = counts();
    await assert.rejects(model.segment(picture, ["cat"]), (error: Error) => {
      assert.ok(error instanceof InputError);
      return /tiny-pg2: masks need vae-oid\.npz, vae-oid\.safetensors, vae\.safetensors.*fetch vae-oid\.npz/.test(
        error.message,
      );
    });
    assert.deepEqual(counts(), before);
    model.dispose();
  });

  it("weights of masks given by path serve any model, and are freed with it", async () => {
    const before = counts().tensors;
    const maskWeights = path.join(demoCheckpoint(), "vae.safetensors");
    const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend, maskWeights });
    const loaded = counts().tensors;
    await model.segment(picture, ["cat"], { maxNewTokens: 2 });
    assert.ok(counts().tensors > loaded, "loaded at the first call");
    const held = counts().tensors;
    await model.segment(picture, ["cat"], { maxNewTokens: 2 });
    assert.equal(counts().tensors, held, "and at no other");
    model.dispose();
    await new Promise(setImmediate);
    assert.equal(counts().tensors, before);
    await assert.rejects(model.segment(picture, ["cat"]), /disposed/);
  });
});
