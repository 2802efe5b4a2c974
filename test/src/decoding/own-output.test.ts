import assert from "node:assert/strict";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { runBatch } from "../../../src/jobs/run-batch.js";
import { demoCheckpoint } from "../../../src/base/demo-checkpoint.js";
import { requireFiniteLogits } from "../../../src/decoding/finite-logits.js";
import { InputError } from "../../../src/base/errors.js";
import { logitLens } from "../../../src/inspection/lens.js";
import { PaliGemma } from "../../../src/paligemma.js";
import type { Question } from "../../../src/answering/question.js";
import { WeightsError } from "../../../weights/errors.js";
import { heldoutFolder } from "../../heldout/heldout.js";
import { fixtures } from "../../parity/reference.js";
import { readAnswers, scratchFolder, writeLines } from "../../support/batch-files.js";
import { counts, longOnCpu, onEachBackend } from "../../support/backends.js";
import { spoiltCheckpoint } from "../../support/spoilt.js";
import { tinyFolder, tinyModel } from "../../support/tiny.js";

const PICTURE = path.join(heldoutFolder, "0014.png");

onEachBackend("tokens that the model chooses", (backend) => {
  let model: PaliGemma;
  let question: Question;
  before(async () => {
    ({ model, question } = await tinyModel(backend));
  });
  after(() => model.dispose());

  /**
   * The whole sequence in one pass without a cache: what stands at generated places is a row of the table, whatever its
   * name.
   */
  const greedyWithout = async (start: readonly number[], count: number): Promise<number[]> => {
    const { rows, words } = await parts();
    const generated = [...start];
    while (generated.length < count) {
      const embedded = await nextOf(rows, words, generated);
      generated.push(embedded);
    }
    rows.dispose();
    return generated;
  };
  const parts = async () => {
    const ready = await model.process(question);
    const pixels = tf.tensor(ready.pixelValues, ready.pixelShape);
    const rows = model.network.encodeImages(pixels);
    pixels.dispose();
    return { rows, words: ready.inputIds[0]! };
  };
  // Another token of the same embedding in the place of <image>: the row is put in by an edit.
  const nextOf = async (rows: tf.Tensor, words: readonly number[], generated: readonly number[]): Promise<number> => {
    const { imageTokenId } = model.config;
    const plain = generated.map((id) => (id === imageTokenId ? 60 : id));
    const inputIds = [[...words, ...plain]];
    const tokenTypeIds = [[...words.map(() => 0), ...plain.map(() => 1)]];
    const ids = tf.tensor2d([[imageTokenId]], undefined, "int32");
    const row = model.network.language.embedding.apply(ids) as tf.Tensor; // scaled, as text enters the decoder
    const value = Array.from(await row.data());
    tf.dispose([ids, row]);
    const edits = generated.flatMap((id, i) =>
      id === imageTokenId
        ? [{ hook: "language.hook_embed", op: "set" as const, value, positions: words.length + i }]
        : [],
    );
    const logits = await model.runWithHooks({ pixelValues: null, imageRows: rows, inputIds, tokenTypeIds }, edits);
    const best = tf.tidy(() =>
      logits
        .slice([0, inputIds[0]!.length - 1, 0], [1, 1, -1])
        .flatten()
        .argMax(),
    );
    const [id] = await best.data();
    tf.dispose([logits, best]);
    return id!;
  };

  for (const [name, id] of [
    ["<image>", 299],
    ["<pad>", 0],
    ["<bos>", 2],
    ["<loc0001>", null],
  ] as const) {
    it(`${name} as the model's own choice is a row of the table, as in transformers, and the answer goes on`, async () => {
      const token = id ?? model.tokenizer.tokenToId("<loc0001>") ?? 7;
      const forced = (generated: readonly number[]) => (generated.length === 1 ? [token] : null);
      const before = counts();
      const { tokens } = await model.generate(question, { allowedTokens: forced, maxNewTokens: 5 });
      assert.equal(tokens[1], token);
      assert.deepEqual(tokens, await greedyWithout(tokens.slice(0, 2), tokens.length));
      assert.deepEqual(counts(), before);
    });
  }

  it("every way of answering goes on behind <image>: beams, the best of several, batches, streams, captures", async () => {
    const { imageTokenId: image } = model.config;
    const options = { forcedPrefix: [60, image], maxNewTokens: 4 };
    const { tokens } = await model.generate(question, options);
    assert.deepEqual([tokens.slice(0, 2), tokens.length], [[60, image], 4]);
    const batch = await model.generateBatch([{ ...question, prompt: "ocr" }, question], options);
    assert.deepEqual(batch[1]!.tokens, tokens);
    const streamed: number[] = [];
    for await (const { token } of model.stream(question, options)) streamed.push(token);
    assert.deepEqual(streamed, tokens);
    for await (const { token, step, cache } of model.generateWithCache(question, {
      ...options,
      capture: { hooks: "language.hook_embed" },
    })) {
      assert.equal(token, tokens[step]);
      cache.dispose();
    }
    for (const more of [{ numBeams: 3 }, { temperature: 2, seed: 1, bestOf: 2 }]) {
      const answer = await model.generate(question, { ...options, ...more });
      assert.deepEqual(answer.tokens.slice(0, 2), [60, image]);
    }
    const text = await model.generate(question, { allowedTokens: { choices: ["<image>"] }, maxNewTokens: 3 });
    assert.deepEqual(text.tokens, [image, 1]);
  });

  it("sampling at a high temperature answers with every seed, <image> among the answers", async () => {
    let images = 0;
    for (let seed = 0; seed < 12; seed++) {
      const { tokens } = await model.generate(question, { temperature: 50, seed, maxNewTokens: 40 });
      images += tokens.filter((id) => id === model.config.imageTokenId).length;
    }
    assert.ok(images > 0, "no seed has drawn it");
  });

  it("a table that ends before <image> never gives it, and asking for it is refused", async () => {
    const archive = path.join(fixtures, "npz", "tiny-pg2", "f32.npz");
    const short = await PaliGemma.load(archive, { backend, tokenizer: tinyFolder("tiny-pg2") });
    assert.deepEqual([short.config.text.vocabSize, short.config.imageTokenId], [299, 299]);
    for (let seed = 0; seed < 3; seed++) {
      const { tokens } = await short.generate(question, {
        temperature: 50,
        seed,
        maxNewTokens: 40,
        repetitionPenalty: 2,
      });
      assert.ok(tokens.every((id) => id < 299));
    }
    await assert.rejects(
      short.generate(question, { forcedPrefix: [299] }),
      /forcedPrefix: expected ids in \[0, 299\), received 299/,
    );
    await assert.rejects(short.generate(question, { allowedTokens: { choices: ["<image>"] } }), InputError);
    short.dispose();
  });

  it("image marks of a prompt that pictures do not fill are still refused", async () => {
    const inputIds = [[299, 2, 60]];
    await assert.rejects(
      model.forward({ pixelValues: null, inputIds }),
      /expected 0 pictures x 16 = 0 image tokens, received 1/,
    );
  });

  for (const [name, call] of Object.entries({
    generate: (none: Question) => model.generate(none),
    "generateBatch beside another": (none: Question) => model.generateBatch([question, none]),
    stream: (none: Question) => model.stream(none).next(),
    forward: (none: Question) => model.forward(none),
    runWithCache: (none: Question) => model.runWithCache(none, { hooks: "**" }),
    score: (none: Question) => model.score(none, ["yes"]),
    process: (none: Question) => model.process(none),
    describe: (none: Question) => model.describe(none),
    caption: () => model.caption([]),
    ocr: () => model.ocr([]),
    answer: () => model.answer([], "what?"),
    captionBox: () => model.captionBox([], [1, 2, 3, 4]),
    detect: () => model.detect([] as never, ["cow"]),
    ask: () => model.ask([] as never, "ocr"),
    encodePicture: () => model.encodePicture([] as never),
  })) {
    it(`${name}: no picture at all is an InputError`, async () => {
      const before = counts();
      await assert.rejects(call({ image: [], prompt: "ocr" }) as Promise<unknown>, (error: Error) => {
        assert.match(error.message, /^image: expected (at least )?one picture, received (an empty list|a list of 0)$/);
        return error instanceof InputError;
      });
      assert.deepEqual(counts(), before);
    });
  }
});

describe("logits that are not finite", () => {
  const at = { prompt: 2, token: 4 };
  it("the largest is checked, and NaN anywhere; single tokens may be at -Infinity", () => {
    requireFiniteLogits(Float32Array.of(-Infinity, 3, -Infinity), at);
    for (const logits of [
      [1, NaN, 2],
      [NaN, 1],
      [1, NaN],
      [Infinity, 1],
      [-Infinity, -Infinity],
    ]) {
      assert.throws(
        () => requireFiniteLogits(Float32Array.from(logits), at),
        (error: Error) => {
          assert.match(
            error.message,
            /at token 5 of the answer to prompt 3, received -?(NaN|Infinity);.*info --tensors/,
          );
          return error instanceof WeightsError;
        },
      );
    }
  });
});

onEachBackend(longOnCpu("the demo checkpoint, whole and with weights that are not finite"), (backend) => {
  const scratch = scratchFolder();
  let made = 0;
  const question = { image: PICTURE, prompt: "caption en" };
  const spoilt = async (name: string, at: number, value: number): Promise<PaliGemma> => {
    const places = { from: demoCheckpoint(), target: scratch(`spoilt-${++made}`) };
    const model = await PaliGemma.load(await spoiltCheckpoint(places, { name, at, value }), { backend });
    (await model.forward(question)).dispose(); // makes the copies that wasm keeps of matrices
    return model;
  };
  const rejected = (call: Promise<unknown>, message: RegExp) =>
    assert.rejects(call, (error: Error) => {
      assert.match(error.message, message);
      return error instanceof WeightsError;
    });

  it("end every way of answering with the token and what to look at, and never with an empty answer", async () => {
    const model = await spoilt("language_model.model.norm.weight", 5, NaN);
    const before = counts();
    const place = /^logits: expected finite numbers at token 1 of the answer to prompt 1, received NaN; .*runWithCache/;
    await rejected(model.generate(question), place);
    for (const options of [
      { temperature: 1, seed: 1 },
      { temperature: 1, bestOf: 2 },
      { numBeams: 2 },
      { repetitionPenalty: 2 },
      { topLogProbabilities: 2 },
      { logProbabilities: true },
    ]) {
      await rejected(model.generate(question, options), place);
    }
    await rejected(model.stream(question).next(), place);
    await rejected(
      model.score(question, ["yes"]),
      /score: expected a log-probability at token 1 of "yes", received NaN/,
    );
    await rejected(logitLens(model, question), /lens: expected probabilities/);
    const batcher = model.batcher();
    const both = await Promise.allSettled([
      batcher.generate(question),
      batcher.generate({ ...question, prompt: "ocr" }),
    ]);
    assert.ok(both.every((one) => one.status === "rejected" && one.reason instanceof WeightsError));
    const { cache } = await model.runWithCache(question, { hooks: "language.ln_final.hook_out", stopAt: "needed" });
    assert.ok((await cache.values("language.ln_final.hook_out")).some(Number.isNaN), "looking is still possible");
    cache.dispose();
    assert.deepEqual(counts(), before);
    model.dispose();
  });

  it("one token's row is enough, NaN or infinite, though another is likelier", async () => {
    for (const value of [NaN, Infinity]) {
      const model = await spoilt("language_model.model.embed_tokens.weight", 700 * 192 + 3, value);
      // A logit at -Infinity says that a token never comes; the first at Infinity is the second token's.
      await rejected(model.generate(question), /^logits: .* at token [12] .* received (NaN|Infinity);/);
      model.dispose();
    }
  });

  it("a batch ends with the error, and writes nothing of the group as done", async () => {
    const model = await spoilt("language_model.model.norm.weight", 0, Infinity);
    const [input, out] = [scratch("in.jsonl"), scratch("out.jsonl")];
    writeLines(
      input,
      ["ocr", "caption en"].map((prompt) => ({ image: PICTURE, prompt })),
    );
    await rejected(runBatch(model, { input, out, batchSize: 1 }), /^logits: /);
    assert.deepEqual(readAnswers(out), []);
    model.dispose();
  });

  it("<image> at the third place: the tokens of transformers", async () => {
    const model = await PaliGemma.load(undefined, { backend, dtype: "float32" });
    const { imageTokenId } = model.config;
    const allowedTokens = (generated: readonly number[]) => (generated.length === 2 ? [imageTokenId] : null);
    const { tokens } = await model.generate(question, { allowedTokens, maxNewTokens: 12 });
    // Source: transformers 5.18, eager, float32, generate with prefix_allowed_tokens_fn.
    assert.deepEqual(tokens, [673, 385, imageTokenId, ...Array.from({ length: 9 }, () => 473)]);
    model.dispose();
  });

  it("a callback may forbid tokens with -Infinity", async () => {
    const model = await PaliGemma.load(undefined, { backend });
    const { tokens } = await model.generate(question, { maxNewTokens: 2 });
    const V = model.config.text.vocabSize;
    const forbidding = tf.buffer([1, 1, V]);
    forbidding.set(-Infinity, 0, 0, tokens[0]!);
    const mask = forbidding.toTensor();
    const edits = [["language.unembed.hook_out", (x: tf.Tensor) => x.add(mask)] as const];
    const other = await model.generate(question, { edits, maxNewTokens: 2 });
    assert.notEqual(other.tokens[0], tokens[0]);
    const logProbabilities = await model.generate(question, { edits, maxNewTokens: 2, logProbabilities: true });
    assert.deepEqual(logProbabilities.tokens, other.tokens);
    mask.dispose();
    model.dispose();
  });
});
