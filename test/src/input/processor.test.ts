import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, InputError } from "../../../src/base/errors.js";
import type { ImageInput } from "../../../src/input/image/decode.js";
import { Processor, type ProcessorOptions } from "../../../src/input/processor.js";
import {
  DEFAULT_IMAGE_CONFIG,
  loadImageProcessorConfig,
  parseImageProcessorConfig,
} from "../../../src/input/processor-config.js";
import { loadTokenizer, type Tokenizer } from "../../../src/input/tokenizer/tokenizer.js";

type Case = {
  name: string;
  images: (string | string[])[];
  prompts: string[];
  suffix: string[] | null;
  pixelShape: number[];
  pixelBytes: string;
  pixelValues?: string;
} & Record<"inputIds" | "attentionMask" | "tokenTypeIds" | "labels", number[][]>;

const fixtures = fileURLToPath(new URL("../../fixtures/processor/", import.meta.url));
const cases = JSON.parse(readFileSync(join(fixtures, "processor.json"), "utf8")) as Case[];
const SIZE = 28;
const TOKENS = 4;

/** A fixture folder on disk, without the loader of weights. */
const folderAt = (name: string) => ({
  name,
  has: async (file: string) => {
    try {
      return readFileSync(join(fixtures, name, file)).length >= 0;
    } catch {
      return false;
    }
  },
  readBytes: async (file: string) => new Uint8Array(readFileSync(join(fixtures, name, file))),
  readJson: async (file: string) => JSON.parse(readFileSync(join(fixtures, name, file), "utf8")) as unknown,
});

const pathOf = (name: string): string => join(fixtures, "images", name);

describe("Processor", () => {
  let tokenizer: Tokenizer;
  before(async () => {
    tokenizer = await loadTokenizer(folderAt("hub"));
  });
  const make = (options: Partial<ProcessorOptions> = {}): Processor =>
    new Processor({
      tokenizer,
      imageSize: SIZE,
      imageTokenId: tokenizer.imageTokenId!,
      numImageTokens: TOKENS,
      bosTokenId: tokenizer.bosTokenId!,
      padTokenId: tokenizer.padTokenId!,
      ...options,
    });
  const grey = (): ImageInput => ({ data: new Uint8Array(2 * 3 * 3).fill(100), width: 2, height: 3 });

  for (const test of cases) {
    it(`${test.name}: ids, masks, types and pixels are transformers'`, async () => {
      const images = test.images.map((entry) => (Array.isArray(entry) ? entry.map(pathOf) : pathOf(entry)));
      const suffix = test.suffix ?? undefined;
      const result = await make().process(images as ImageInput[] | ImageInput[][], test.prompts, { suffix });
      assert.deepEqual(result.inputIds, test.inputIds);
      assert.deepEqual(result.attentionMask, test.attentionMask);
      assert.deepEqual(result.tokenTypeIds, test.tokenTypeIds);
      assert.deepEqual(result.labels, test.suffix ? test.labels : undefined);
      assert.deepEqual(result.pixelShape, test.pixelShape);
      assert.equal(createHash("sha256").update(result.pixelBytes!).digest("hex"), test.pixelBytes);
      if (test.pixelValues === undefined) return;
      const expected = new Float32Array(new Uint8Array(Buffer.from(test.pixelValues, "base64")).buffer);
      assert.equal(result.pixelValues.length, expected.length);
      const worst = result.pixelValues.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i])), 0);
      assert.ok(worst <= 1e-6, `worst difference ${worst}`);
    });
  }

  it("the same ids come from tokenizer.json through the other engine", async () => {
    const { has, ...rest } = folderAt("hub");
    const json = { ...rest, has: async (file: string) => file !== "tokenizer.model" && has(file) };
    const other = make({ tokenizer: await loadTokenizer(json) });
    for (const { images, prompts, suffix, inputIds } of cases) {
      const groups = images.map((entry) => (Array.isArray(entry) ? entry : [entry]).map(grey));
      const result = await other.process(groups, prompts, { suffix: suffix ?? undefined });
      assert.deepEqual(result.inputIds, inputIds);
    }
  });

  it("a picture and a prompt need no lists", async () => {
    const [alone, listed] = [await make().process(grey(), "ocr"), await make().process([[grey()]], ["ocr"])];
    assert.deepEqual(alone, listed);
    assert.deepEqual(alone.imageSizes, [{ width: 2, height: 3 }]);
  });

  it("red stays red: the channels keep their order", async () => {
    const red = {
      data: Uint8Array.from({ length: 5 * 5 * 3 }, (_, i) => (i % 3 === 0 ? 255 : 0)),
      width: 5,
      height: 5,
    };
    const { pixelValues } = await make().process(red, "");
    assert.deepEqual([...pixelValues.subarray(0, 3)], [1, -1, -1]);
  });

  it("each image_mean, image_std, rescale_factor and resample moves the pixels", async () => {
    const picture = pathOf("wide.png");
    const plain = await make().process(picture, "");
    const changes = [{ imageMean: [0.4, 0.5, 0.5] }, { imageStd: [0.5, 0.5, 0.6] }, { rescaleFactor: 1 / 254 }];
    for (const change of [...changes, { resample: "bilinear" }]) {
      const imageConfig = { ...DEFAULT_IMAGE_CONFIG, ...change } as typeof DEFAULT_IMAGE_CONFIG;
      const { pixelValues } = await make({ imageConfig }).process(picture, "");
      assert.notDeepEqual(pixelValues, plain.pixelValues, JSON.stringify(change));
    }
  });

  it("bilinear-antialias-float keeps what bilinear-antialias cuts off, which is less than a grey level", async () => {
    const picture = { data: new Uint8Array(readFileSync(pathOf("wide.png"))).slice(0, 100 * 3), width: 10, height: 10 };
    const exact = await make({ resize: "bilinear-antialias-float" }).process(picture, "");
    const cut = await make({ resize: "bilinear-antialias" }).process(picture, "");
    assert.equal(exact.pixelBytes, null);
    const grey = (value: number) => (value + 1) * 127.5;
    const gaps = [...exact.pixelValues].map((value, i) => grey(value) - cut.pixelBytes![i]);
    assert.ok(Math.min(...gaps) > -1e-4 && Math.max(...gaps) < 1, `${Math.min(...gaps)} to ${Math.max(...gaps)}`);
    assert.ok(Math.max(...gaps) > 0.9, "something is cut off");
    cut.pixelValues.forEach((value, i) => assert.ok(Math.abs(grey(value) - cut.pixelBytes![i]) < 1e-4));
  });

  it("ready pixels are taken unchanged", async () => {
    const pixels = Float32Array.from({ length: SIZE * SIZE * 3 }, (_, i) => Math.sin(i));
    const { pixelValues, pixelBytes } = await make().process({ pixels, width: SIZE, height: SIZE }, "ocr");
    assert.deepEqual(pixelValues, pixels);
    assert.equal(pixelBytes, null);
  });

  it("special tokens typed by a stranger stay text, and the image mark with them", async () => {
    const { inputIds } = await make({ specialTokens: "text" }).process(grey(), "<bos><image><eos> <pad>");
    const [row] = inputIds;
    assert.deepEqual(row.slice(0, TOKENS + 1), [...Array<number>(TOKENS).fill(tokenizer.imageTokenId!), 2]);
    assert.ok(row.slice(TOKENS + 1).every((id) => !tokenizer.isSpecial(id)));
    assert.equal(tokenizer.decode(row.slice(TOKENS + 1)), "<bos><image><eos> <pad>\n");
  });

  it("one prompt takes a flat list of pictures when it marks each", async () => {
    const { inputIds, pixelShape } = await make().process([grey(), grey()], "<image>a<image>b");
    assert.deepEqual(pixelShape, [2, SIZE, SIZE, 3]);
    assert.equal(inputIds[0].filter((id) => id === tokenizer.imageTokenId).length, 2 * TOKENS);
  });

  it("counts that do not fit are errors with both numbers", async () => {
    const refuse = async (promise: Promise<unknown>, message: RegExp): Promise<void> =>
      assert.rejects(promise, (error: Error) => {
        assert.ok(error instanceof InputError, String(error));
        assert.match(error.message, message);
        return true;
      });
    await refuse(make().process([[grey()]], ["<image><image>"]), /prompt: holds 2 <image> for 1 images/);
    await refuse(
      make().process([[grey()], [grey(), grey()]], ["a", "b <image>"]),
      /prompt 2: holds 1 <image> for 2 images/,
    );
    await refuse(make().process([grey(), grey()], "ocr"), /images: 2 for 1 prompts/);
    await refuse(make().process([grey()], ["a", "b"]), /images: 1 for 2 prompts/);
    await refuse(make().process([[]], ["a"]), /images: none for prompt 1/);
    await refuse(
      make().process(grey(), "a", { suffix: ["b", "c"] }),
      /suffix: expected one for each of 1 prompts, got 2/,
    );
    await refuse(make().process(grey(), "a", { suffix: ["<image>"] }), /suffix: holds <image>/);
    await refuse(make().process([], []), /prompts: none given/);
    await refuse(make().process(grey(), undefined as unknown as string), /prompt 1: expected text, got undefined/);
    await refuse(make().process("nowhere.png", "a"), /nowhere\.png: there is no such image file/);
  });

  it("ready pixels of another size or range are errors", async () => {
    const pixels = new Float32Array(SIZE * SIZE * 3);
    for (const [width, values] of [
      [SIZE + 1, pixels],
      [SIZE, pixels.slice(1)],
      [SIZE, pixels.map(() => 7)],
      [SIZE, pixels.map(() => NaN)],
    ] as const) {
      await assert.rejects(make().process({ pixels: values, width, height: SIZE }, "a"), {
        name: "InputError",
        message: /^image 1: ready pixels/,
      });
    }
  });

  it("a processor file of another checkpoint is an error", () => {
    const of = (change: object) => () => make({ imageConfig: { ...DEFAULT_IMAGE_CONFIG, ...change } });
    assert.throws(of({ size: { height: 28, width: 42 } }), /image size: 28 x 42 .* but 28 in config\.json/);
    assert.throws(of({ imageSeqLength: 9 }), /image_seq_length: 9 .* gives 4 patches/);
    assert.throws(of({ imageSeqLength: 9 }), ConfigError);
  });
});

describe("loadImageProcessorConfig", () => {
  const expected = { ...DEFAULT_IMAGE_CONFIG, size: { height: SIZE, width: SIZE } };
  const of = (files: Record<string, unknown>) => ({
    name: "models/test",
    has: async (file: string) => Object.hasOwn(files, file),
    readJson: async (file: string) => files[file],
  });

  it("reads preprocessor_config.json of the hub and processor_config.json of transformers 5", async () => {
    const hub = await loadImageProcessorConfig(folderAt("hub"));
    const saved = await loadImageProcessorConfig(folderAt("saved"));
    assert.deepEqual({ ...hub, imageSeqLength: 0 }, { ...expected, imageSeqLength: 0 });
    assert.deepEqual(saved, { ...expected, imageSeqLength: TOKENS });
  });

  it("takes PaliGemma's values where there is no file, or no image_processor in it", async () => {
    assert.deepEqual(await loadImageProcessorConfig(of({})), DEFAULT_IMAGE_CONFIG);
    assert.deepEqual(await loadImageProcessorConfig(of({ "processor_config.json": {} })), DEFAULT_IMAGE_CONFIG);
    const files = { "processor_config.json": {}, "preprocessor_config.json": { resample: 2 } };
    assert.equal((await loadImageProcessorConfig(of(files))).resample, "bilinear");
  });

  it("reads every field, and a size written as one number", () => {
    const json = {
      size: 56,
      resample: 2,
      rescale_factor: 0.01,
      image_mean: [0, 0.1, 0.2],
      image_std: [1, 2, 3],
      image_seq_length: 16,
    };
    assert.deepEqual(parseImageProcessorConfig(json, "file"), {
      size: { height: 56, width: 56 },
      resample: "bilinear",
      rescaleFactor: 0.01,
      imageMean: [0, 0.1, 0.2],
      imageStd: [1, 2, 3],
      imageSeqLength: 16,
    });
  });

  it("a wrong value is an error that names the file and the field", () => {
    const wrong: [object, RegExp][] = [
      [{ resample: 1 }, /resample: expected 2 \(bilinear\) or 3 \(bicubic\), received 1/],
      [{ resample: 0 }, /resample: expected .* received 0/],
      [{ resample: "bicubic" }, /resample/],
      [{ image_mean: [0.5] }, /image_mean: expected three numbers, received \[0\.5\]/],
      [{ image_std: [0.5, 0, 0.5] }, /image_std: expected three numbers above 0/],
      [{ rescale_factor: 0 }, /rescale_factor/],
      [{ size: { height: 28 } }, /size.*width/],
      [{ size: { height: 28, width: -1 } }, /size.*width/],
      [{ image_seq_length: 1.5 }, /image_seq_length/],
      [{ do_normalize: false }, /do_normalize: expected true/],
    ];
    for (const [json, message] of wrong) {
      assert.throws(
        () => parseImageProcessorConfig(json, "file.json"),
        (error: Error) => {
          assert.ok(error instanceof ConfigError, String(error));
          assert.match(error.message, /^file\.json/);
          assert.match(error.message, message);
          return true;
        },
      );
    }
  });
});
