import assert from "node:assert/strict";
import { createRequire } from "node:module";

import * as tf from "@tensorflow/tfjs";

import { InputError } from "../../src/base/errors.js";
import { checkpointInfo } from "../../src/checkpoints/info/index.js";
import { directLogitAttribution } from "../../src/inspection/attribution.js";
import { gradientsOf } from "../../src/inspection/gradients.js";
import { logitLens } from "../../src/inspection/lens.js";
import { logitDifference, logProbability, measure, type Metric } from "../../src/inspection/metric.js";
import { activationPatching } from "../../src/inspection/patching.js";
import { maskIou } from "../../src/masks/mask.js";
import { PaliGemma } from "../../src/paligemma.js";
import type { Question } from "../../src/answering/question.js";
import { convertCheckpoint } from "../../src/checkpoints/saving/convert.js";
import { savePretrained } from "../../src/checkpoints/saving/save-pretrained.js";
import { counts, onEachBackend } from "../support/backends.js";
import { refused } from "../support/refused.js";
import { tinyFolder, tinyModel } from "../support/tiny.js";

/** What JavaScript lets a caller write, whatever the types say. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Untyped = any;

/** Another copy of TensorFlow.js's core in this process, as a second library may bring it. */
function secondCopy(): typeof tf {
  const require = createRequire(import.meta.url);
  const file = require.resolve("@tensorflow/tfjs-core");
  const first = require.cache[file];
  delete require.cache[file];
  const copy = require(file) as typeof tf;
  require.cache[file] = first;
  return copy;
}

onEachBackend("JavaScript callers", (backend) => {
  let model: Untyped;
  let question: Question;
  before(async () => {
    ({ model, question } = await tinyModel(backend));
  });
  after(() => model.dispose());

  const picture = () => question.image;

  const same: Record<string, [one: () => Promise<unknown>, list: () => Promise<unknown>]> = {
    detect: [() => model.detect(picture(), "cow"), () => model.detect(picture(), ["cow"])],
    "score's answers": [() => model.score(question, "yes"), () => model.score(question, ["yes"])],
    stopStrings: [() => short({ stopStrings: "e" }), () => short({ stopStrings: ["e"] })],
    badWords: [() => short({ badWords: "e" }), () => short({ badWords: ["e"] })],
    choices: [() => short({ allowedTokens: { choices: "ab" } }), () => short({ allowedTokens: { choices: ["ab"] } })],
    "generateBatch's questions": [() => batch(question), () => batch([question])],
    "temperature 0": [() => short({ temperature: 0, topK: 3, seed: 1 }), () => short({})],
    "topK 0": [() => short({ topK: 0 }), () => short({})],
    "topK 0 beside a temperature": [
      () => short({ topK: 0, temperature: 9, seed: 1 }),
      () => short({ temperature: 9, seed: 1 }),
    ],
    "temperature 0 and topK 0 of beams": [
      () => short({ numBeams: 2, temperature: 0, topK: 0 }),
      () => short({ numBeams: 2 }),
    ],
  };
  const short = async (options: object) => {
    const { text, tokens } = await model.generate(question, { maxNewTokens: 6, ...options });
    return { text, tokens };
  };
  const batch = async (questions: unknown) =>
    (await model.generateBatch(questions, { maxNewTokens: 3 })).map(({ tokens }: { tokens: number[] }) => tokens);
  for (const [what, [one, list]] of Object.entries(same)) {
    it(`${what}: the obvious meaning`, async () => assert.deepEqual(await one(), await list()));
  }

  const options: [value: unknown, message: RegExp][] = [
    [null, /generate: expected an object .*, received null/],
    [[], /received an empty list/],
    [new AbortController().signal, /received an object of the kind AbortSignal/],
    [
      { signal: new AbortController() },
      /signal: expected an AbortSignal, received an object of the kind AbortController/,
    ],
    [{ signal: "stop" }, /signal: expected an AbortSignal/],
    [{ maxNewTokens: "3" }, /maxNewTokens: expected a number, received "3"/],
    [{ temperature: "0.5" }, /temperature: expected a number/],
    [{ topP: "0.5" }, /topP: expected a number/],
    [{ topK: -1 }, /topK: expected a whole number of at least 0/],
    [{ logProbabilities: "no" }, /logProbabilities: expected true or false/],
    [{ seed: null }, /seed: expected text or a number, received null/],
    [{ badWords: [60] }, /badWords\[0\]: expected a list of ids, received 60/],
    [{ badWords: [[undefined]] }, /badWords\[0\]: expected ids in \[0, 300\), received nothing/],
    [{ allowedTokens: "yes" }, /allowedTokens: expected ids, a function, "locations" or/],
    [{ allowedTokens: 5 }, /allowedTokens: expected an object/],
    [{ allowedTokens: {} }, /allowedTokens: expected at least one choice/],
    [{ allowedTokens: () => 5 }, /allowedTokens: expected a list of ids, received 5/],
    [{ forcedPrefix: ["a"] }, /forcedPrefix: expected ids in \[0, 300\), received "a"/],
    [{ stopStrings: "" }, /stopStrings: expected some text/],
    [{ stopStrings: [5] }, /stopStrings: expected text or a list of texts/],
    [{ bestOf: 2, temperature: 0 }, /bestOf: expected temperature/],
    [{ edits: null }, /edits: expected a list of them, received null/],
    [{ edits: { hook: "**", op: "suppress" } }, /edits: expected a list of them, received an object/],
    [{ edits: "language.**" }, /edits: expected a list/],
    [{ edits: [null] }, /edits\[0\]: expected an object such as \{ hook, op \}, received null/],
    [{ edits: [undefined] }, /edits\[0\]: .* received nothing/],
    [{ edits: [["language.**", "no function"]] }, /edits\[0\]: .* received a list of 2/],
  ];
  options.forEach(([value, message], i) => {
    it(`options ${i + 1}: refused with ${message}`, async () => {
      await refused(() => model.generate(question, value), message);
      await refused(
        () => model.generateBatch([question], value),
        new RegExp(message.source.replace("generate:", "generateBatch:")),
      );
    });
  });

  const questions: [value: () => unknown, message: RegExp][] = [
    [() => null, /question: expected an object such as \{ image, prompt \}, received null/],
    [() => "caption en", /question: .* received "caption en"/],
    [() => [question], /question: .* received a list of 1/],
    [() => ({ image: picture() }), /prompt: expected text, received nothing/],
    [() => ({ ...question, prompt: 5 }), /prompt: expected text, received 5/],
    [() => ({ ...question, promt: "" }), /unknown option "promt"; did you mean "prompt"/],
    [() => ({ images: picture(), prompt: "" }), /unknown option "images"; did you mean "image"/],
    [() => ({ ...question, specialTokens: "no" }), /specialTokens: expected "ids" or "text" or "plain", received "no"/],
    [() => ({ pixel_values: null, inputIds: [[2]] }), /./],
  ];
  questions.forEach(([value, message], i) => {
    it(`question ${i + 1}: refused with ${message}`, async () => {
      for (const call of [
        () => model.generate(value()),
        () => model.forward(value()),
        () => model.runWithCache(value(), { hooks: "**" }),
        () => model.stream(value()).next(),
      ]) {
        await refused(call, message);
      }
    });
  });

  it("ready inputs: rows and tensors that are none, and the names of Python, are refused", async () => {
    const inputIds = [[2, 60]];
    await refused(
      () => model.forward({ pixel_values: null, inputIds }),
      /unknown option "pixel_values"; did you mean "pixelValues"/,
    );
    await refused(() => model.forward({ pixelValues: null, inputIds: [2, 60] }), /inputIds: expected rows of numbers/);
    await refused(
      () => model.forward({ pixelValues: null, inputIds: null }),
      /inputIds: expected rows of numbers .* received null/,
    );
    await refused(
      () => model.forward({ pixelValues: null, inputIds: [["2"]] }),
      /inputIds: expected ids in \[0, 300\), received "2"/,
    );
    const ready = await model.process(question);
    await refused(
      () => model.forward(ready),
      /pixelValues: expected a float32 tensor, received an object of the kind Float32Array/,
    );
    const pixels = tf.zeros(ready.pixelShape);
    pixels.dispose();
    await refused(
      () => model.forward({ ...ready, pixelValues: pixels }),
      /pixelValues: .* received one that has been disposed/,
    );
  });

  it("words and answers that are no text are refused", async () => {
    for (const things of [5, null, undefined, [5], [null]]) {
      await refused(() => model.detect(picture(), things), /thing: expected text/);
    }
    for (const answers of [5, null, [5]])
      await refused(() => model.score(question, answers), /answers\[0\]: expected text/);
    await refused(() => model.answer(picture(), 5), /question: expected text, received 5/);
    await refused(() => model.captionBox(picture(), "1,2,3,4"), /box: expected \[y0, x0, y1, x1\]/);
    await refused(() => model.caption(picture(), { language: 5 }), /language: expected text/);
    await refused(
      () => model.detect([picture(), picture()], ["cow"]),
      /image: expected one picture, received a list of 2/,
    );
  });

  it("token ids that are none are refused by every metric and attribution", async () => {
    for (const [token, against] of [
      ["a", "b"],
      [39, undefined],
      [1.5, 2],
      [-1, 2],
      [NaN, 1],
      [null, 1],
      [39, "40"],
    ]) {
      await refused(() => logitDifference(token as number, against as number), /(token|against): expected a token id/);
    }
    await refused(() => logProbability("x" as Untyped), /token: expected a token id .* received "x"/);
    const logits = await model.forward(question);
    await refused(() => measure(logitDifference(3, 300), logits), /token: expected ids in \[0, 300\), received 300/);
    await refused(() => measure(logProbability(1e9), logits), /token: expected ids in \[0, 300\)/);
    assert.ok(Number.isFinite(await measure(logitDifference(299, 0), logits)));
    logits.dispose();
    const hooks = "language.blocks.1.hook_mlp_out";
    await refused(() => gradientsOf(model, question, { hooks, metric: logProbability(300) }), /received 300/);
    const sweep = { leaf: "hook_resid_pre", layers: [0] };
    const both = { clean: question, corrupted: question };
    await refused(() => activationPatching(model, both, logProbability(300), sweep), /received 300/);
    for (const tokens of ["x", 5, ["x"], [undefined], [300], []] as Untyped[]) {
      await refused(() => directLogitAttribution(model, question, { tokens }), /tokens: expected/);
    }
  });

  it("a tokenizer decodes ids, and refuses what is none", async () => {
    assert.equal(model.tokenizer.decode([300_000]), ""); // beyond the table, as in tokenizers
    assert.equal(model.tokenizer.decode(Int32Array.of(60, 61)), model.tokenizer.decode([60, 61]));
    for (const [ids, message] of [
      ["abc", /decode: expected a list of token ids, received "abc"/],
      [60, /decode: expected a list of token ids, received 60/],
      [null, /decode: expected a list/],
      [["60"], /decode: expected token ids, received "60" at 0/],
      [[60, -1], /received -1 at 1/],
      [[NaN], /received NaN/],
      [[1.5], /received 1.5/],
    ] as const) {
      await refused(() => model.tokenizer.decode(ids), message);
    }
  });

  it("places that are no text are refused by every call that takes one", async () => {
    for (const place of [undefined, null, 5, {}]) {
      await refused(() => savePretrained(model, place as never), /savePretrained: expected a path, received/);
      await refused(() => convertCheckpoint(place as never, "x"), /convertCheckpoint: expected a path, an address or/);
      await refused(() => convertCheckpoint(tinyFolder("tiny-pg2"), place as never), /expected a path, received/);
      await refused(() => checkpointInfo(place as never), /checkpointInfo: expected a path, an address or owner/);
    }
    await refused(() => savePretrained(null as never, "x"), /savePretrained: expected a PaliGemma or a PaliGemmaModel/);
    await refused(() => savePretrained(model, ""), /expected a path, received ""/);
  });

  it("masks that are none have no overlap", async () => {
    const mask = { data: new Uint8Array(6), width: 3, height: 2 };
    for (const [a, b] of [
      [null, null],
      [mask, undefined],
      [mask, { ...mask, width: 4 }],
      [{ ...mask, data: [0, 1] }, mask],
    ]) {
      await refused(() => maskIou(a as never, b as never), /maskIou: /);
    }
  });

  it("a metric that is no function of logits to a scalar tensor is refused, with nothing unhandled", async () => {
    const logits = await model.forward(question);
    const held = tf.scalar(1);
    const hooks = "language.blocks.1.hook_mlp_out";
    for (const metric of [
      null,
      5,
      async () => held,
      () => Promise.reject(new Error("later")),
      () => 5,
      (x: tf.Tensor) => x,
    ]) {
      await refused(() => measure(metric as Metric, logits), /^metric: expected/);
      await refused(() => gradientsOf(model, question, { hooks, metric: metric as Metric }), /metric: expected/);
    }
    await refused(() => measure(() => tf.scalar(1, "int32") as Untyped, logits), /received one of the type int32/);
    tf.dispose([logits, held]);
  });

  it("names of adapters and places: one stands for a list of one, and what is none is refused", async () => {
    await refused(() => model.setAdapters("style"), /adapters: there is no "style"; loaded: none/);
    for (const choice of [null, 5, undefined, [5]]) await refused(() => model.setAdapters(choice), /^adapters: /);
    await refused(
      () => model.loadAdapter("a", 5),
      /loadAdapter: expected a path, an address or owner\/name, received 5/,
    );
    await refused(() => PaliGemma.load({ backend } as Untyped), /load: expected a path, .*, received an object/);
  });

  it("layers and heads that are no list of blocks are refused", async () => {
    const both = { clean: question, corrupted: question };
    for (const layers of ["x", 5, ["0"], [99], [0.5]] as Untyped[]) {
      await refused(() => logitLens(model, question, { layers }), /layers: expected/);
      await refused(
        () => activationPatching(model, both, logProbability(3), { leaf: "hook_resid_pre", layers }),
        /layers: expected/,
      );
    }
  });

  it("pixels from another copy of TensorFlow.js are used where it shares the engine, and refused where not", async () => {
    const other = secondCopy();
    assert.notEqual(other.Tensor, tf.Tensor);
    const pixels = other.zeros<tf.Rank.R3>([28, 28, 3]);
    const own = tf.zeros<tf.Rank.R3>([28, 28, 3]);
    const ask = async (image: unknown) => (await model.generate({ image, prompt: "ocr" }, { maxNewTokens: 3 })).tokens;
    assert.deepEqual(await ask(pixels), await ask(own));
    const foreign = Object.create(tf.Tensor.prototype, {
      shape: { value: [28, 28, 3] },
      dtype: { value: "float32" },
      dataId: { value: {} },
      isDisposedInternal: { value: false },
      rankType: { value: "3" },
    }) as tf.Tensor;
    await refused(
      () => ask(foreign),
      /image: expected a float32 tensor, received one of another copy of TensorFlow\.js/,
    );
    own.dispose();
    await refused(() => ask(own), /image: expected a float32 tensor, received one that has been disposed/);
    pixels.dispose();
  });
});

onEachBackend("a model that is disposed", (backend) => {
  const load = () => PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
  const question = { image: { data: new Uint8Array(7 * 5 * 3).fill(90), width: 7, height: 5 }, prompt: "ocr" };
  const message = /^model: it has been disposed; load it again$/;
  const gone = /^model: its weights were disposed by other code .*; load it again$/;
  const refusal = (expected: RegExp) => (error: Error) => {
    assert.match(error.message, expected);
    return error instanceof InputError;
  };

  it("ends an answer under way in an InputError, wherever it is, and leaks nothing", async () => {
    const before = counts();
    for (let turns = 0; turns < 24; turns += 2) {
      const model = await load();
      const answer = model.generate(question, { maxNewTokens: 200 });
      const ended = assert.rejects(answer, refusal(message));
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
      model.dispose();
      await ended;
    }
    assert.deepEqual(counts(), before);
  });

  it("ends a stream, a capture and a lens at their next step", async () => {
    const before = counts();
    for (const start of [
      (model: PaliGemma) => model.stream(question),
      (model: PaliGemma) => model.generateWithCache(question, { capture: { hooks: "language.hook_embed" } }),
    ]) {
      const model = await load();
      const pieces: AsyncGenerator<unknown> = start(model);
      const { value } = await pieces.next();
      (value as { cache?: { dispose(): void } }).cache?.dispose();
      model.dispose();
      await assert.rejects(pieces.next(), refusal(message));
    }
    const model = await load();
    const lens = logitLens(model, question);
    model.dispose();
    await assert.rejects(lens, refusal(message));
    assert.deepEqual(counts(), before);
  });

  it("is told apart from weights that tf.disposeVariables has freed, in every call", async () => {
    tf.disposeVariables(); // what other suites of this process have left
    const before = counts();
    const model = await load();
    await model.generate(question, { maxNewTokens: 1 });
    const codes = model.encodePicture(question.image);
    (await codes).dispose();
    tf.disposeVariables();
    const calls: Record<string, () => unknown> = {
      generate: () => model.generate(question),
      stream: () => model.stream(question).next(),
      forward: () => model.forward(question),
      encodePicture: () => model.encodePicture(question.image),
      score: () => model.score(question, ["yes"]),
      runWithCache: () => model.runWithCache(question, { hooks: "**" }),
      describe: () => model.describe(question),
      logitLens: () => logitLens(model, question),
      loadAdapter: () => model.loadAdapter("a", "nowhere"),
      setAdapters: () => model.setAdapters([]),
      mergeAdapters: () => model.mergeAdapters(),
      maskCodec: () => model.maskCodec(),
      savePretrained: () => savePretrained(model, "nowhere"),
      "network.forward": () => model.network.forward({ pixelValues: null, inputIds: [[2]] }),
    };
    for (const [name, call] of Object.entries(calls)) {
      await assert.rejects(async () => call(), refusal(gone), name);
    }
    model.dispose();
    model.dispose();
    await assert.rejects(model.generate(question), refusal(message));
    assert.deepEqual(counts(), before);
  });

  it("variables that are freed during an answer end it", async () => {
    const model = await load();
    const pieces = model.stream(question);
    await pieces.next();
    tf.disposeVariables();
    await assert.rejects(pieces.next(), refusal(gone));
    model.dispose();
  });
});
