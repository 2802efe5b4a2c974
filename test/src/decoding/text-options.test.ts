import assert from "node:assert/strict";
import path from "node:path";

import { beforeStop } from "../../../src/decoding/text-options.js";
import { InputError } from "../../../src/base/errors.js";
import { PaliGemma } from "../../../src/paligemma.js";
import type { GenerationOptions } from "../../../src/decoding/text-options.js";
import { heldoutFolder } from "../../heldout/heldout.js";
import { counts, longOnCpu, onEachBackend } from "../../support/backends.js";

// A green star, a yellow heart and an orange circle.
const image = path.join(heldoutFolder, "0004.png");

onEachBackend(longOnCpu("decoding by text on the demo checkpoint"), (backend) => {
  let model: PaliGemma;
  before(async () => {
    model = await PaliGemma.load(undefined, { backend });
    // some backends make tables at their first pass
    await model.generate({ image, prompt: "ocr" }, { maxNewTokens: 1 });
  });
  after(() => model.dispose());
  const caption = { image, prompt: "caption en" };
  const streamed = async (options: GenerationOptions) => {
    const pieces: string[] = [];
    for await (const { text } of model.stream(caption, options)) pieces.push(text);
    return pieces.join("");
  };

  it("bad words are in no answer, neither at the beginning of a word nor inside of one", async () => {
    const { text } = await model.generate(caption);
    assert.match(text, /yellow/);
    const without = await model.generate(caption, { badWords: ["yellow", "green"] });
    assert.doesNotMatch(without.text, /yellow|green/);
  });

  it("choices are the only answers there are, and are scored as `score` does", async () => {
    const question = { image, prompt: "answer en what color is the heart?" };
    const choices = ["red", "yellow", "yellow green"];
    const { text, logProbabilities } = await model.generate(question, {
      allowedTokens: { choices },
      logProbabilities: true,
    });
    assert.equal(text, "yellow");
    const scored = await model.score(question, choices);
    const sum = logProbabilities!.reduce((total, value) => total + value, 0);
    assert.ok(Math.abs(sum - scored[1].logLikelihood) < 1e-3, `${sum} against ${scored[1].logLikelihood}`);
    const red = await model.generate(question, { allowedTokens: { choices: ["red", "blue"] } });
    assert.ok(["red", "blue"].includes(red.text));
    assert.equal(red.finishReason, "eos");
    const long = await model.generate(question, { allowedTokens: { choices: ["yellow green", "yellow blue"] } });
    assert.match(long.text, /^yellow (green|blue)$/, "an answer ends where a choice ends, and nowhere else");
  });

  it("locations alone: nothing but locations until the end", async () => {
    const { tokens } = await model.generate({ image, prompt: "detect heart" }, { allowedTokens: "locations" });
    const spelt = tokens.map((id) => model.tokenizer.idToToken(id)!);
    assert.ok(spelt.length > 4);
    assert.ok(
      spelt.every((token) => /^<loc\d{4}>$|^<eos>$/.test(token)),
      spelt.join(" "),
    );
  });

  it("a forced prefix begins the answer, with the log-probabilities that the model gives it", async () => {
    const options = { forcedPrefix: "a blue star", logProbabilities: true, maxNewTokens: 8 };
    const { text, logProbabilities } = await model.generate(caption, options);
    assert.match(text, /^a blue star/);
    assert.ok(logProbabilities![1] < Math.log(0.1), "blue is unlikely");
  });

  it("a stop string ends the answer and is no part of its text, streamed or not, also across tokens", async () => {
    const whole = (await model.generate(caption)).text;
    for (const stop of [" and", "ellow heart a", "star,", "no such text"]) {
      const answer = await model.generate(caption, { stopStrings: [stop] });
      assert.equal(answer.text, whole.split(stop)[0]);
      assert.equal(answer.finishReason, whole.includes(stop) ? "stop" : "eos");
      assert.equal(await streamed({ stopStrings: [stop] }), answer.text);
    }
    await assert.rejects(model.generate(caption, { stopStrings: [""] }), InputError);
    assert.equal(beforeStop("a b c", ["c", "b"]), "a ");
  });

  it("a box that comes a second time ends the answer, and is not reported twice", async () => {
    const box = "<loc0536><loc0385><loc0773><loc0645> heart";
    const forced = { forcedPrefix: `${box} ; ${box} ; ${box} ; ${box}`, maxNewTokens: 100 };
    const found = await model.detect(image, ["heart"], forced);
    assert.equal(found.objects.length, 1);
    assert.equal(found.text, `${box} ; ${box} ;`);
    const endless = await model.detect(image, ["heart"], { ...forced, stopAtRepeatedBox: false });
    assert.ok(endless.text.startsWith(forced.forcedPrefix));
    const other = "<loc0536><loc0385><loc0773><loc0646> heart";
    const different = await model.detect(image, ["heart"], { forcedPrefix: `${box} ; ${other} ; `, maxNewTokens: 60 });
    assert.ok(different.objects.length >= 2, "another box is no repetition");
  });

  it("the likeliest tokens at each place begin with the one that was taken", async () => {
    const { tokens, likeliest, logProbabilities } = await model.generate(caption, {
      topLogProbabilities: 3,
      logProbabilities: true,
      maxNewTokens: 5,
    });
    assert.equal(likeliest!.length, tokens.length);
    likeliest!.forEach((step, i) => {
      assert.equal(step.length, 3);
      assert.equal(step[0].token, tokens[i]);
      assert.equal(step[0].text, model.tokenizer.idToToken(tokens[i]));
      assert.equal(step[0].logProbability, logProbabilities![i]);
      assert.ok(step[1].logProbability <= step[0].logProbability);
    });
  });

  it("beams find an answer that is at least as likely, and report as many as asked for", async () => {
    const options = { logProbabilities: true, maxNewTokens: 30 };
    const sum = (values?: number[]) => values!.reduce((total, value) => total + value, 0);
    const greedy = await model.generate(caption, options);
    const beams = await model.generate(caption, { ...options, numBeams: 3, lengthPenalty: 0, numReturnSequences: 2 });
    assert.ok(sum(beams.logProbabilities) >= sum(greedy.logProbabilities) - 1e-4);
    assert.equal(beams.hypotheses!.length, 2);
    assert.equal(beams.hypotheses![0].text, beams.text);
    const found = await model.detect(image, ["heart"], { numBeams: 2, maxNewTokens: 20 });
    assert.equal(found.objects[0].label, "heart");
  });

  it("options that do not go together are an error", async () => {
    for (const wrong of [
      { numBeams: 2, temperature: 1 },
      { numBeams: 2, seed: 1 },
      { numBeams: 2, topLogProbabilities: 1 },
      { bestOf: 3 },
      { numReturnSequences: 2 },
      { numBeams: 2, numReturnSequences: 3 },
      { bestOf: 0 },
      { topLogProbabilities: -1 },
      { allowedTokens: { choices: [] } },
      { allowedTokens: { choices: [""] } },
      { badWords: [""] },
    ] as GenerationOptions[]) {
      const before = counts();
      await assert.rejects(model.generate(caption, { maxNewTokens: 2, ...wrong }), InputError, JSON.stringify(wrong));
      assert.deepEqual(counts(), before);
    }
    await assert.rejects(model.stream(caption, { numBeams: 2 }).next(), InputError);
  });

  it("ask reads objects from an answer that holds them, whatever the prompt, and hints at a misspelt task", async () => {
    const found = await model.ask(image, "detect heart");
    assert.equal(found.task, "detect");
    assert.equal(found.hint, null);
    assert.equal(found.found!.objects[0].label, "heart");
    assert.ok(found.found!.objects[0].score > 0.1);
    const free = await model.ask(image, "captoin en", { maxNewTokens: 3 });
    assert.deepEqual([free.task, free.found], [null, null]);
    assert.match(free.hint!, /"caption" is/);
  });

  it("question and captionBox ask as the checkpoints were trained", async () => {
    const prompts: string[] = [];
    const spy = Object.create(model, {
      generate: { value: ({ prompt }: { prompt: string }) => (prompts.push(prompt), Promise.resolve(null)) },
    }) as PaliGemma;
    await spy.question(image, "yellow", { language: "it" });
    await spy.captionBox(image, [1, 2, 30, 400]);
    assert.deepEqual(prompts, ["question it yellow", "caption <loc0001><loc0002><loc0030><loc0400>"]);
  });
});
