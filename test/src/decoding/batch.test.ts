import assert from "node:assert/strict";

import * as tf from "@tensorflow/tfjs";

import { decode } from "../../../src/decoding/decode.js";
import { InputError } from "../../../src/base/errors.js";
import type { ModelInputs } from "../../../src/model/inputs.js";
import type { PaliGemmaModel } from "../../../src/model/model.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { batchInputs } from "../../../src/answering/batch-inputs.js";
import type { Answer } from "../../../src/answering/answer.js";
import type { Question } from "../../../src/answering/question.js";
import { counts, leakFree, onEachBackend } from "../../support/backends.js";
import { tinyFolder } from "../../support/tiny.js";

/** A picture of random bytes, the same for the same seed. */
function picture(seed: number, width = 37, height = 23) {
  let state = seed * 2654435761 + 1;
  const next = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 24;
  return { data: Uint8Array.from({ length: width * height * 3 }, next), width, height };
}

const PROMPTS = ["ocr", "detect red ; a tin", "", "answer en what is it that we see in here?", "caption en"];
const questions = (): Question[] => PROMPTS.map((prompt, i) => ({ image: picture(i + 1), prompt }));

/** How many rows each pass of the network has, while `body` runs. */
async function rowsOfPasses(network: PaliGemmaModel, body: () => Promise<unknown>): Promise<number[]> {
  const original = network.forwardAsync;
  const rows: number[] = [];
  network.forwardAsync = function (inputs: ModelInputs, ...rest) {
    rows.push(inputs.inputIds.length);
    return original.call(this, inputs, ...rest);
  };
  try {
    await body();
    return rows;
  } finally {
    network.forwardAsync = original;
  }
}

const endingWith = (model: PaliGemmaModel, eosTokenIds: number[]): PaliGemmaModel =>
  Object.create(model, { config: { value: { ...model.config, eosTokenIds } } }) as PaliGemmaModel;

async function tokensOf(model: PaliGemmaModel, inputs: ModelInputs, maxNewTokens: number): Promise<number[][]> {
  const rows: number[][] = inputs.inputIds.map(() => []);
  const ended = new Set<number>();
  for await (const { tokens, finished } of decode(model, inputs, { maxNewTokens })) {
    tokens.forEach((token, row) => ended.has(row) || rows[row].push(token));
    finished.forEach((reason, row) => reason !== null && ended.add(row));
  }
  return rows;
}

onEachBackend("batches", () => {
  for (const name of ["tiny-pg1", "tiny-pg2"]) {
    describe(name, () => {
      let model: PaliGemma;
      before(async () => {
        model = await PaliGemma.load(tinyFolder(name));
        await model.generate(questions()[0], { maxNewTokens: 1 }); // some backends make tables at their first pass
      });
      after(() => model.dispose());
      const answerer = () => ({ model: model.network, processor: model.processor });

      leakFree("every logit of a padded row is that of the row alone, within 1e-4", async () => {
        const together = await batchInputs(questions(), answerer());
        const logits = await model.network.forwardAsync(together);
        const longest = together.inputIds[0].length;
        for (const [b, question] of questions().entries()) {
          const alone = await batchInputs([question], answerer());
          const T = alone.inputIds[0].length;
          const own = await model.network.forwardAsync(alone);
          const error = tf.tidy(
            () =>
              own
                .sub(logits.slice([b, longest - T, 0], [1, T, -1]))
                .abs()
                .max()
                .dataSync()[0],
          );
          assert.ok(error < 1e-4, `row ${b}: ${error}`);
          own.dispose();
          alone.dispose();
        }
        logits.dispose();
        together.dispose();
      });

      it("answers are those of each question alone, in groups of any size", async () => {
        const options = { maxNewTokens: 9, logProbabilities: true };
        const alone: Answer[] = [];
        for (const question of questions()) alone.push(await model.generate(question, options));
        for (const batchSize of [1, 2, 5, 8]) {
          const before = counts();
          const together = await model.generateBatch(questions(), { ...options, batchSize });
          assert.deepEqual(counts(), before);
          together.forEach((answer, i) => {
            const { text, tokens, promptTokens, finishReason, logProbabilities } = alone[i];
            assert.deepEqual([answer.text, answer.tokens], [text, tokens]);
            assert.deepEqual([answer.promptTokens, answer.finishReason], [promptTokens, finishReason]);
            answer.logProbabilities!.forEach((value, step) =>
              assert.ok(Math.abs(value - logProbabilities![step]) < 1e-4),
            );
          });
        }
      });

      it("several pictures, and another number of them in each row", async () => {
        const several: Question[] = [
          { image: [picture(1), picture(2)], prompt: "ocr" },
          { image: picture(3), prompt: "detect a tin" },
          { image: [picture(4), picture(5), picture(6)], prompt: "" },
        ];
        const together = await model.generateBatch(several, { maxNewTokens: 6 });
        for (const [i, question] of several.entries()) {
          assert.deepEqual(together[i].tokens, (await model.generate(question, { maxNewTokens: 6 })).tokens);
        }
      });

      it("a row that has ended leaves the batch, and the others go on as alone", async () => {
        const inputs = await batchInputs(questions(), answerer());
        const endless = await tokensOf(endingWith(model.network, []), inputs, 12);
        // Each row ends where it first meets one of these, which is early for some and never for others.
        const ends = [endless[1][2], endless[0][6]];
        const ending = endingWith(model.network, ends);
        let rows: number[][] = [];
        const passes = await rowsOfPasses(ending, async () => (rows = await tokensOf(ending, inputs, 12)));
        const expected = endless.map((row) => {
          const at = row.findIndex((id) => ends.includes(id));
          return at < 0 ? row : row.slice(0, at + 1);
        });
        assert.deepEqual(rows, expected);
        const longest = Math.max(...expected.map(({ length }) => length));
        const present = Array.from(
          { length: longest },
          (_, step) => expected.filter((row) => row.length > step).length,
        );
        assert.deepEqual(passes, present, "rows of each pass");
        assert.ok(new Set(present).size > 1, "some row ends before the others");
        inputs.dispose();
      });

      it("under edits every row stays, for they may speak of rows", async () => {
        const inputs = await batchInputs(questions(), answerer());
        const endless = await tokensOf(endingWith(model.network, []), inputs, 5);
        const ending = endingWith(model.network, [endless[0][1]]);
        const passes = await rowsOfPasses(ending, async () => {
          const edits = [{ hook: "language.blocks.0.hook_resid_pre", op: "scale", factor: 1 } as const];
          const finished: number[] = [];
          for await (const step of decode(ending, inputs, { maxNewTokens: 5, edits }))
            finished.push(step.finished.length);
          assert.deepEqual(finished, [5, 5, 5, 5, 5]);
        });
        assert.deepEqual(passes, [5, 5, 5, 5, 5]);
        inputs.dispose();
      });

      it("a picture of several questions is encoded once, whatever the group, and its answers stay the same", async () => {
        const [shared, other] = [picture(8), picture(9)];
        const asked = PROMPTS.map((prompt, i) => ({ image: i === 2 ? other : shared, prompt }));
        const separate = asked.map(({ image, prompt }) => ({ image: { ...image }, prompt }));
        const expected = await model.generateBatch(separate, { maxNewTokens: 5 });
        const original = model.network.encodeImages;
        const encoded: number[] = [];
        model.network.encodeImages = function (pixels, ...rest) {
          encoded.push(pixels.shape[0]!);
          return original.call(this, pixels, ...rest);
        };
        try {
          const before = counts();
          const answers = await model.generateBatch(asked, { maxNewTokens: 5, batchSize: 2 });
          assert.deepEqual(counts(), before);
          assert.deepEqual(
            answers.map(({ tokens }) => tokens),
            expected.map(({ tokens }) => tokens),
          );
          assert.deepEqual(encoded, [1, 1], "the shared one, and the other beside it");
        } finally {
          model.network.encodeImages = original;
        }
      });

      it("encoded pictures and others may stand in one batch, in any order", async () => {
        const encoded = await model.encodePicture(picture(1));
        const mixed: Question[] = [
          { image: [picture(2), encoded], prompt: "ocr" },
          { image: picture(3), prompt: "detect a tin" },
          { image: encoded, prompt: "caption en" },
          { image: [picture(4), picture(5)], prompt: "" },
        ];
        const plain = mixed.map(({ image, prompt }) => {
          const pictures = (Array.isArray(image) ? image : [image]).map((one) => (one === encoded ? picture(1) : one));
          return { image: pictures, prompt };
        });
        const answers = await model.generateBatch(mixed, { maxNewTokens: 5 });
        const expected = await model.generateBatch(plain, { maxNewTokens: 5 });
        assert.deepEqual(
          answers.map(({ tokens }) => tokens),
          expected.map(({ tokens }) => tokens),
        );
        encoded.dispose();
      });

      leakFree("an encoded picture stands for itself in any question until it is disposed", async () => {
        const image = picture(3);
        const encoded = await model.encodePicture(image);
        assert.deepEqual(encoded.size, { width: image.width, height: image.height });
        for (const prompt of PROMPTS) {
          const { tokens } = await model.generate({ image: encoded, prompt }, { maxNewTokens: 4 });
          assert.deepEqual(tokens, (await model.generate({ image, prompt }, { maxNewTokens: 4 })).tokens);
        }
        encoded.dispose();
        await assert.rejects(model.generate({ image: encoded, prompt: "ocr" }), {
          message: /disposed; encode it again/,
        });
        await assert.rejects(model.process({ image: encoded, prompt: "ocr" }), InputError);
      });

      it("with a seed each question draws as if it were alone", async () => {
        const options = { maxNewTokens: 6, temperature: 2, topK: 40, seed: 7 };
        const together = await model.generateBatch(questions(), options);
        for (const [i, question] of questions().entries()) {
          assert.deepEqual(together[i].tokens, (await model.generate(question, options)).tokens);
        }
      });

      it("the best of several has the highest mean log-probability of draws that each have their own seed", async () => {
        const sampling = { maxNewTokens: 6, temperature: 2, logProbabilities: true };
        const [first, second] = questions();
        const options = { ...sampling, seed: 3, bestOf: 4, numReturnSequences: 4 };
        const together = await model.generateBatch([first, second], options);
        for (const [i, question] of [first, second].entries()) {
          const drawn = [];
          for (const seed of [3, "3/1", "3/2", "3/3"])
            drawn.push(await model.generate(question, { ...sampling, seed }));
          const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
          const ranked = drawn
            .map(({ tokens, logProbabilities }) => ({ tokens, score: mean(logProbabilities!) }))
            .sort((a, b) => b.score - a.score);
          assert.deepEqual(
            together[i].hypotheses!.map(({ tokens }) => tokens),
            ranked.map(({ tokens }) => tokens),
          );
          assert.ok(Math.abs(together[i].hypotheses![0].score - ranked[0].score) < 1e-4);
          assert.deepEqual(together[i].tokens, ranked[0].tokens);
          assert.equal(together[i].logProbabilities!.length, ranked[0].tokens.length);
        }
      });

      leakFree("what cannot be asked, and what is aborted, leaves nothing behind", async () => {
        const wrong = [...questions(), { image: "no such picture.png", prompt: "ocr" }];
        await assert.rejects(model.generateBatch(wrong, { batchSize: 4 }), { message: /no such picture.png/ });
        const mixed = [questions()[0], { image: picture(1), prompt: 7 as unknown as string }];
        await assert.rejects(model.generateBatch(mixed), InputError);
        const controller = new AbortController();
        const running = model.generateBatch(questions(), { maxNewTokens: 200, signal: controller.signal, numBeams: 2 });
        setImmediate(() => controller.abort(new Error("enough")));
        await assert.rejects(running, { message: "enough" });
        assert.deepEqual(await model.generateBatch([]), []);
      });
    });
  }
});
