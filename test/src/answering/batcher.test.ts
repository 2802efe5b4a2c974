import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { setImmediate as nextTurn } from "node:timers/promises";

import { InputError } from "../../../src/base/errors.js";
import { PaliGemma } from "../../../src/paligemma.js";
import type { Answer } from "../../../src/answering/answer.js";
import { Batcher } from "../../../src/answering/batcher.js";
import type { BatchOptions } from "../../../src/answering/answer-batch.js";
import type { Question } from "../../../src/answering/question.js";
import { WeightsError } from "../../../weights/errors.js";
import { tinyFolder } from "../../support/tiny.js";

const image = { data: new Uint8Array(7 * 5 * 3).fill(90), width: 7, height: 5 };
const ask = (prompt: string): Question => ({ image, prompt });

/** A model that only notes its batches, and answers when it is told to. */
function pretending() {
  const batches: { prompts: string[]; options: BatchOptions; settle: (error?: Error) => void }[] = [];
  let announce = () => {};
  const model = {
    generateBatch: (questions: readonly Question[], options: BatchOptions) =>
      new Promise<Answer[]>((resolve, reject) => {
        const prompts = questions.map(({ prompt }) => prompt);
        const settle = (error?: Error) =>
          error ? reject(error) : resolve(prompts.map((prompt) => ({ text: `to ${prompt}` }) as Answer));
        batches.push({ prompts, options, settle });
        announce();
      }),
  } as unknown as PaliGemma;
  const nextBatch = async () => {
    if (batches.length === 0) await new Promise<void>((resolve) => (announce = resolve));
    return batches.shift()!;
  };
  return { model, nextBatch };
}

describe("the batcher", () => {
  it("asks calls of one turn together, and those that come meanwhile in the next batches, oldest first", async () => {
    const { model, nextBatch } = pretending();
    const batcher = new Batcher(model, { maxBatchSize: 3 });
    const early = ["a", "b"].map((prompt) => batcher.generate(ask(prompt), { maxNewTokens: 4 }));
    const first = await nextBatch();
    assert.deepEqual(first.prompts, ["a", "b"]);
    assert.deepEqual([first.options.maxNewTokens, first.options.batchSize], [4, 2]);
    const late = ["c", "d", "e", "f"].map((prompt) => batcher.generate(ask(prompt), { maxNewTokens: 4 }));
    first.settle();
    assert.deepEqual(
      (await Promise.all(early)).map(({ text }) => text),
      ["to a", "to b"],
    );
    const second = await nextBatch();
    assert.deepEqual(second.prompts, ["c", "d", "e"]);
    second.settle();
    const third = await nextBatch();
    assert.deepEqual(third.prompts, ["f"]);
    third.settle();
    assert.deepEqual(
      (await Promise.all(late)).map(({ text }) => text),
      ["to c", "to d", "to e", "to f"],
    );
  });

  it("does not mix calls that decode differently, nor those with functions", async () => {
    const { model, nextBatch } = pretending();
    const batcher = new Batcher(model);
    const allowedTokens = () => null;
    const calls = [
      batcher.generate(ask("a"), { seed: 1, topK: 2 }),
      batcher.generate(ask("b"), { topK: 3 }),
      batcher.generate(ask("c"), { topK: 2, seed: 1 }),
      batcher.generate(ask("d"), { allowedTokens }),
      batcher.generate(ask("e"), { allowedTokens }),
    ];
    const seen: string[][] = [];
    for (let i = 0; i < 4; i++) {
      const batch = await nextBatch();
      seen.push(batch.prompts);
      batch.settle();
    }
    await Promise.all(calls);
    assert.deepEqual(seen, [["a", "c"], ["b"], ["d"], ["e"]]);
  });

  it("logits of one call that are not finite are not another's error", async () => {
    const { model, nextBatch } = pretending();
    const batcher = new Batcher(model);
    const outcomes = Promise.allSettled(["good", "bad"].map((prompt) => batcher.generate(ask(prompt))));
    (await nextBatch()).settle(new WeightsError("logits: at token 1 of the answer to prompt 2"));
    (await nextBatch()).settle();
    (await nextBatch()).settle(new WeightsError("logits: at token 1 of the answer to prompt 1"));
    assert.deepEqual(
      (await outcomes).map(({ status }) => status),
      ["fulfilled", "rejected"],
    );
  });

  it("gives an error to the call that it belongs to, and to all where it is nobody's", async () => {
    const { model, nextBatch } = pretending();
    const batcher = new Batcher(model);
    const calls = ["good", "bad"].map((prompt) => batcher.generate(ask(prompt)));
    const outcomes = Promise.allSettled(calls);
    (await nextBatch()).settle(new InputError("prompt 2: wrong"));
    (await nextBatch()).settle();
    (await nextBatch()).settle(new InputError("wrong"));
    const [good, bad] = await outcomes;
    assert.equal(good.status, "fulfilled");
    assert.match(String((bad as PromiseRejectedResult).reason), /wrong/);
    const failing = Promise.allSettled(["x", "y"].map((prompt) => batcher.generate(ask(prompt))));
    (await nextBatch()).settle(new Error("out of memory"));
    assert.deepEqual(
      (await failing).map(({ status }) => status),
      ["rejected", "rejected"],
    );
  });

  it("an aborted call rejects at once and leaves the queue; a batch that nobody waits for is aborted", async () => {
    const { model, nextBatch } = pretending();
    const batcher = new Batcher(model);
    const [one, two, three] = [new AbortController(), new AbortController(), new AbortController()];
    const first = batcher.generate(ask("a"), { signal: one.signal });
    const second = batcher.generate(ask("b"), { signal: two.signal });
    const running = await nextBatch();
    const third = batcher.generate(ask("c"), { signal: three.signal });
    three.abort(new Error("third"));
    await assert.rejects(third, { message: "third" });
    one.abort(new Error("first"));
    await assert.rejects(first, { message: "first" });
    assert.equal(running.options.signal!.aborted, false, "the other call still waits");
    two.abort(new Error("second"));
    await assert.rejects(second, { message: "second" });
    assert.equal(running.options.signal!.aborted, true);
    running.settle(new Error("second"));
    const next = batcher.generate(ask("d"));
    const batch = await nextBatch();
    assert.deepEqual(batch.prompts, ["d"], "c has left the queue");
    assert.equal(batch.options.signal, undefined);
    batch.settle();
    await next;
    await assert.rejects(batcher.generate(ask("e"), { signal: AbortSignal.abort() }), { name: "AbortError" });
    assert.throws(() => new Batcher(model, { maxBatchSize: 0 }), InputError);
  });

  it("a signal that outlives its calls is not listened to any more, however they end", async () => {
    const { model, nextBatch } = pretending();
    const batcher = new Batcher(model);
    const { signal } = new AbortController();
    const listeners = () => getEventListeners(signal, "abort").length;
    const answers = ["a", "b"].map((prompt) => batcher.generate(ask(prompt), { signal }));
    const first = await nextBatch();
    assert.ok(listeners() > 0, "an abort would be heard now");
    first.settle();
    await Promise.all(answers);
    const failing = batcher.generate(ask("c"), { signal });
    (await nextBatch()).settle(new Error("broken"));
    await assert.rejects(failing, { message: "broken" });
    await nextTurn();
    assert.equal(listeners(), 0);
  });

  it("on a model gives each call the answer that it gets alone", async () => {
    const model = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend: "cpu" });
    const batcher = model.batcher({ maxBatchSize: 2 });
    const prompts = ["ocr", "detect red ; a tin", "caption en"];
    const together = await Promise.all(prompts.map((prompt) => batcher.generate(ask(prompt), { maxNewTokens: 4 })));
    for (const [i, prompt] of prompts.entries()) {
      const alone = await model.generate(ask(prompt), { maxNewTokens: 4 });
      assert.deepEqual(together[i].tokens, alone.tokens);
    }
    model.dispose();
  });
});
