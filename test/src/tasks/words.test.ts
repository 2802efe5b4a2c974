import assert from "node:assert/strict";

import { InputError } from "../../../src/base/errors.js";
import { PaliGemma } from "../../../src/paligemma.js";
import type { Question } from "../../../src/answering/question.js";
import type { SpecialTokens } from "../../../src/input/tokenizer/tokenizer.js";
import { tinyFolder } from "../../support/tiny.js";

const image = { data: new Uint8Array(7 * 5 * 3).fill(90), width: 7, height: 5 };
const WORDS = ["<loc0001>", "<image>", "<bos>", "<eos>", "<pad>", "<seg001>", "a <loc0007> b", "<image> <image>"];

type Task = (model: PaliGemma, word: string, options: { specialTokens?: SpecialTokens }) => Promise<unknown>;
const TASKS: Record<string, Task> = {
  answer: (model, word, options) => model.answer(image, word, options),
  question: (model, word, options) => model.question(image, word, options),
  detect: (model, word, options) => model.detect(image, ["cow", word], options),
  segment: (model, word, options) => model.segment(image, [word], options),
};

describe("words filled into a task", () => {
  for (const specialTokens of ["ids", "text", "plain"] as const) {
    let model: PaliGemma;
    let asked: Question[];
    before(async () => {
      model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend: "cpu", specialTokens });
      model.maskCodec = () => Promise.resolve({} as never);
      model.generate = (question) => {
        asked.push(question);
        return Promise.reject(new Error("asked"));
      };
    });
    beforeEach(() => (asked = []));
    after(() => model.dispose());

    const idsOf = async (call: Promise<unknown>): Promise<number[]> => {
      await assert.rejects(call, /^Error: asked$/);
      const { inputIds } = await model.process(asked.at(-1)!);
      return inputIds[0]!;
    };
    const named = (ids: readonly number[]) =>
      ids.map((id) => model.tokenizer.idToToken(id)!).filter((token) => /^<(loc\d{4}|seg\d{3})>$/.test(token));
    const special = (ids: readonly number[]) => ids.filter((id) => model.tokenizer.isSpecial(id) && id !== 3); // <unk>

    for (const [name, task] of Object.entries(TASKS)) {
      it(`${name}, loaded with "${specialTokens}": no special token comes of them`, async () => {
        const plain = await idsOf(task(model, "cow", {}));
        for (const word of WORDS) {
          const ids = await idsOf(task(model, word, {}));
          assert.deepEqual(named(ids), [], word);
          assert.deepEqual(special(ids), special(plain), `${word}: the picture's marks and <bos>, and no other`);
        }
      });
    }

    it(`loaded with "${specialTokens}": ids come of them where they are asked for`, async () => {
      const options = { specialTokens: "ids" } as const;
      const found = await idsOf(model.detect(image, ["<loc0001>"], options));
      assert.deepEqual(named(found), ["<loc0001>"]);
      await assert.rejects(model.detect(image, ["<loc0001>"], { specialTokens: "yes" as "ids" }), InputError);
    });

    it(`loaded with "${specialTokens}": the locations of captionBox are ids`, async () => {
      const ids = await idsOf(model.captionBox(image, [1, 2, 5, 7]));
      assert.deepEqual(named(ids), ["<loc0001>", "<loc0002>", "<loc0005>", "<loc0007>"]);
    });

    it(`loaded with "${specialTokens}": a prompt keeps its meaning, and a question may choose`, async () => {
      const ids = async (question: Partial<Question>) =>
        (await model.process({ image, prompt: "a<bos>", ...question })).inputIds[0]!;
      const begins = (all: readonly number[]) => all.filter((id) => id === model.tokenizer.bosTokenId).length;
      assert.equal(begins(await ids({})), specialTokens === "ids" ? 2 : 1);
      assert.equal(begins(await ids({ specialTokens: "ids" })), 2);
      assert.equal(begins(await ids({ specialTokens: "plain" })), 1);
      const locations = specialTokens === "plain" ? [] : ["<loc0007>"];
      assert.deepEqual(named(await ids({ prompt: "<loc0007>" })), locations);
      assert.deepEqual(named(await ids({ prompt: "<loc0007>", specialTokens: "plain" })), []);
    });
  }

  it("a newline, which would end the prompt, is refused", async () => {
    const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend: "cpu" });
    for (const task of Object.values(TASKS)) {
      await assert.rejects(task(model, "a\nb", {}), /expected one line, for a newline ends the prompt/);
    }
    model.dispose();
  });
});
