import assert from "node:assert/strict";

import * as tf from "@tensorflow/tfjs";

import * as api from "../support/api.js";
import { reportRun } from "../../src/pictures/report-run.js";
import * as pictures from "../../src/doors/pictures.js";
import * as weights from "../../weights/index.js";
import { WeightsError } from "../../weights/errors.js";
import { tinyFolder } from "../support/tiny.js";

/** An option that no call has, near to none that one has, and a misspelt one. */
const UNKNOWN = { zzzzzz: 1 };

type Call = (model: api.PaliGemma, options: never) => unknown;
const image = { data: new Uint8Array(7 * 5 * 3).fill(90), width: 7, height: 5 };
const question = { image, prompt: "caption en" };
const metric = api.logitDifference(3, 4);
const first = async (pieces: AsyncGenerator): Promise<unknown> => (await pieces.next()).value;
const questions = { clean: question, corrupted: question };
const sae = (): api.JumpReluSae => ({ name: "sae", width: 4, features: 8 }) as api.JumpReluSae;
const network = (model: api.PaliGemma): api.PaliGemmaModel => model.network;
const inputs: api.ModelInputs = { pixelValues: null, inputIds: [[2, 60]] };

/** Every public call that takes an object of options, or is one: a new one belongs here. */
const CALLS: Record<string, Call> = {
  decodeImage: (_, options) => api.decodeImage(image, "image", options),
  decodeFrames: (_, options) => api.decodeFrames(new Uint8Array(9), [0], "image", options),
  countFrames: (_, options) => api.countFrames(new Uint8Array(9), "image", options),
  videoFrames: (_, options) => api.videoFrames([image], 1, options),
  diagnose: (_, options) => api.diagnose(options),
  "PaliGemma.load": (_, options) => api.PaliGemma.load(tinyFolder("tiny-pg2"), options),
  "load's settings": (_, settings) => api.PaliGemma.load(tinyFolder("tiny-pg2"), { settings }),
  settingsWith: (_, options) => api.settingsWith(options),
  loadAdapter: (model, options) => model.loadAdapter("a", "nowhere", options),
  "Adapters.load": (model, options) => new api.Adapters(model.network).load("a", "nowhere", options),
  downloadModel: (_, options) => api.downloadModel("owner/name", options),
  openHubFolder: (_, options) => weights.openHubFolder("owner/name", options),
  loadNetwork: async (_, options) => {
    const folder = await api.openFolder(tinyFolder("tiny-pg2"));
    return api.loadNetwork(folder, await api.loadConfig(folder), api.hf5, options);
  },
  loadTokenizer: async (_, options) => api.loadTokenizer(await api.openFolder(tinyFolder("tiny-pg2")), options),
  checkpointInfo: (_, options) => api.checkpointInfo(tinyFolder("tiny-pg2"), options),
  convertCheckpoint: (_, options) => api.convertCheckpoint(tinyFolder("tiny-pg2"), "out", options),
  savePretrained: (model, options) => api.savePretrained(model, "out", options),
  "savePretrained of a network": (model, options) => api.savePretrained(model.network, "out", options),
  generate: (model, options) => model.generate(question, options),
  "generate's question": (model, more: object) => model.generate({ ...question, ...more }),
  generateBatch: (model, options) => model.generateBatch([question], options),
  "generateBatch's question": (model, more: object) => model.generateBatch([question, { ...question, ...more }]),
  stream: (model, options) => first(model.stream(question, options)),
  inForce: (model, options) => model.inForce(options),
  oneAnswer: (model, options) => model.oneAnswer(options),
  forward: (model, options) => model.forward(question, options),
  "forward's inputs": (model, more: object) => model.forward({ ...inputs, ...more }),
  runWithCache: (model, more: object) => model.runWithCache(question, { hooks: "**", ...more }),
  "runWithHooks' edit": (model, more: object) =>
    model.runWithHooks(question, [{ hook: "language.hook_embed", op: "suppress", ...more }]),
  generateWithCache: (model, more: object) =>
    first(model.generateWithCache(question, { capture: { hooks: "**" }, ...more })),
  "generateWithCache's capture": (model, more: object) =>
    first(model.generateWithCache(question, { capture: { hooks: "**", ...more } })),
  caption: (model, options) => model.caption(image, options),
  ocr: (model, options) => model.ocr(image, options),
  answer: (model, options) => model.answer(image, "what?", options),
  question: (model, options) => model.question(image, "a cow", options),
  captionBox: (model, options) => model.captionBox(image, [1, 2, 3, 4], options),
  ask: (model, options) => model.ask(image, "ocr", options),
  detect: (model, options) => model.detect(image, ["cow"], options),
  segment: (model, options) => model.segment(image, ["cow"], options),
  score: (model, options) => model.score(question, ["yes"], options),
  process: (model, more: object) => model.process({ ...question, ...more }),
  describe: (model, more: object) => model.describe({ ...question, ...more }),
  batcher: (model, options) => model.batcher(options),
  "batcher's generate": (model, options) => model.batcher().generate(question, options),
  "network.forward": (model, options) => network(model).forward(inputs, options),
  "network.forwardAsync": (model, options) => network(model).forwardAsync(inputs, options),
  "processor.process": (model, options) => model.processor.process([image], ["ocr"], options),
  "processor.layOut": (model, options) => model.processor.layOut("ocr", 1, options),
  Processor: (model, more: object) =>
    new api.Processor({ ...(model.processor as unknown as { options: api.ProcessorOptions }).options, ...more }),
  "tokenizer.encode": (model, options) => model.tokenizer.encode("a", options),
  "tokenizer.decode": (model, options) => model.tokenizer.decode([60], options),
  createStreamDecoder: (model, options) => api.createStreamDecoder(model.tokenizer, options),
  decode: (model, options) => first(api.decode(model.network, inputs, options)),
  decodeAnswers: (model, options) => api.decodeAnswers(model.network, inputs, options),
  beamSearch: (model, options) => api.beamSearch(model.network, inputs, options),
  createSampler: (_, options) => api.createSampler(options),
  tokenRule: (_, options) => api.tokenRule(options, { vocabSize: 300, eosTokenIds: [1] }),
  checkedBeamOptions: (_, options) => api.checkedBeamOptions(options),
  inTokens: (model, options) => api.inTokens(options, { tokenizer: model.tokenizer, eosTokenIds: [1] }),
  "inTokens' choices": (model, allowedTokens) =>
    api.inTokens({ allowedTokens }, { tokenizer: model.tokenizer, eosTokenIds: [1] }),
  runBatch: (model, more: object) => api.runBatch(model, { input: "in", out: "out", ...more }),
  "runBatch's shard": (model, more: object) =>
    api.runBatch(model, { input: "in", out: "out", shard: { index: 0, count: 1, ...more } }),
  readDetections: (model, options) =>
    api.readDetections(
      { tokens: [], logProbabilities: [], tokenizer: model.tokenizer, size: { width: 1, height: 1 } },
      options,
    ),
  readSegmentations: (model, options) =>
    api.readSegmentations(
      { tokens: [], logProbabilities: [], tokenizer: model.tokenizer, size: { width: 1, height: 1 } },
      {} as api.MaskCodec,
      options,
    ),
  ActivationCache: (_, options) => new api.ActivationCache(options),
  runAndKeep: (model, more: object) => api.runAndKeep(model.network, inputs, { hooks: "language.**", ...more }),
  decodeAndKeep: (model, more: object) =>
    first(api.decodeAndKeep(model.network, inputs, {}, { hooks: "language.**", ...more })),
  logitLens: (model, options) => api.logitLens(model, question, options),
  attentionRows: (model, options) => api.attentionRows(model, question, options),
  meanRow: (_, options) => api.meanRow({ queries: [0], layers: 1, heads: 1 } as api.AttentionRows, 0, options),
  residualDecomposition: (model, options) => api.residualDecomposition(model, question, options),
  directLogitAttribution: (model, more: object) =>
    api.directLogitAttribution(model, question, { tokens: [3], ...more }),
  activationPatching: (model, more: object) =>
    api.activationPatching(model, questions, metric, { leaf: "hook_resid_pre", ...more }),
  "activationPatching's questions": (model, more: object) =>
    api.activationPatching(model, { ...questions, ...more }, metric, { leaf: "hook_resid_pre" }),
  attributionPatching: (model, more: object) =>
    api.attributionPatching(model, questions, { hooks: "**", metric, ...more }),
  gradientsOf: (model, more: object) => api.gradientsOf(model, question, { hooks: "**", metric, ...more }),
  gradientMap: (model, more: object) => api.gradientMap(model, question, { metric, ...more }),
  integratedGradients: (model, more: object) =>
    api.integratedGradients(model, question, { hook: "projector.hook_out", metric, ...more }),
  meanActivations: (model, more: object) => api.meanActivations(model, [question], { hooks: "**", ...more }),
  knockOut: (_, more: object) => api.knockOut({ from: "image", to: "last", ...more }),
  ablateHeads: (_, options) => api.ablateHeads(0, [0], options),
  ablateNeurons: (_, options) => api.ablateNeurons(0, [0], options),
  spliceSae: (_, options) => api.spliceSae(sae(), "language.hook_embed", options),
  "spliceSae's edit": (_, more: object) =>
    api.spliceSae(sae(), "language.hook_embed", { edits: [{ feature: 0, op: "suppress", ...more }] }),
  exportRun: (model, more: object) =>
    api.exportRun("out.safetensors", model, [], {
      ...{ prompt: "", imageSizes: [], tokens: [], segments: [], grid: [1, 1] },
      ...more,
    }),
  reportRun: (model, more: object) => reportRun(model, { image: [image], prompt: "ocr", ...more }),
  maskAnswer: (_, options) => api.maskAnswer({} as api.MaskCodec, [], options),
  encodeRunLengths: (_, options) => api.encodeRunLengths({ data: new Uint8Array(1), width: 1, height: 1 }, options),
  ...Object.fromEntries(
    (
      [
        ["drawAttentionMap", { values: [1], grid: [1, 1], title: "" }],
        ["drawHeadGallery", { values: [1], layers: [0], heads: [0], grid: [1, 1], title: "" }],
        ["drawLogitLens", { cells: [], labels: [], title: "" }],
        ["drawMask", { open: [1], shape: [1, 1], keySegments: [], title: "" }],
        ["drawOverview", { values: [1], layers: 1, heads: 1, title: "", meaning: "" }],
        ["drawBoxes", { objects: [], title: "" }],
        ["drawSegmentations", { objects: [], title: "" }],
        ["renderReport", { model: "" }],
      ] as const
    ).map(([name, data]) => [
      name,
      (_: unknown, more: object) => (pictures[name] as (data: object) => unknown)({ ...data, ...more }),
    ]),
  ),
};

describe("every call that takes options", () => {
  let model: api.PaliGemma;
  before(async () => {
    model = await api.PaliGemma.load(tinyFolder("tiny-pg2"), { backend: "cpu" });
  });
  after(() => model.dispose());

  for (const [name, call] of Object.entries(CALLS)) {
    it(`${name}: names an option that there is not, and computes nothing`, async () => {
      const before = tf.memory().numTensors;
      await assert.rejects(
        async () => call(model, UNKNOWN as never),
        (error: Error) =>
          (error instanceof api.InputError || error instanceof WeightsError) &&
          /unknown option "zzzzzz"; there are \w+/.test(error.message),
      );
      assert.equal(tf.memory().numTensors, before);
    });
  }

  // What transformers, llama.cpp and the like call them.
  for (const [option, nearest] of [
    ["max_new_tokens", "maxNewTokens"],
    ["maxTokens", "maxNewTokens"],
    ["top_k", "topK"],
    ["num_beams", "numBeams"],
    ["repetition_penalty", "repetitionPenalty"],
    ["edit", "edits"],
    ["abortSignal", "signal"],
  ] as const) {
    it(`generate says that ${option} may be ${nearest}`, async () => {
      await assert.rejects(model.generate(question, { [option]: 3 }), {
        name: "InputError",
        message: `generate: unknown option "${option}"; did you mean "${nearest}"?`,
      });
    });
  }
});
