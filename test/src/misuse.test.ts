import { attributionPatching, gradientsOf } from "../../src/inspection/gradients.js";
import { logitDifference } from "../../src/inspection/metric.js";
import { ablateHeads } from "../../src/inspection/interventions.js";
import { PaliGemma } from "../../src/paligemma.js";
import type { Question } from "../../src/answering/question.js";
import { onEachBackend } from "../support/backends.js";
import { refused } from "../support/refused.js";
import { tinyFolder, tinyModel } from "../support/tiny.js";

/** What JavaScript lets a caller write, whatever the types say. */
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Untyped = any;

onEachBackend("what would count as something else", (backend) => {
  let model: Untyped;
  let question: Question;
  before(async () => ({ model, question } = await tinyModel(backend)));
  after(() => model.dispose());
  const rejecting = () => Promise.reject(new Error("boo"));

  it("a picture that another model has encoded is refused, by every way to it", async () => {
    const other = await PaliGemma.load(tinyFolder("tiny-pg2"), { backend });
    const image = await other.encodePicture(question.image as string);
    const by = /encoded by another model; encode it with the one that is asked/;
    await refused(() => model.generate({ ...question, image }, { maxNewTokens: 2 }), by);
    await refused(() => model.generateBatch([question, { ...question, image }], { maxNewTokens: 2 }), by);
    await refused(() => model.encodePicture(image), by);
    image.dispose();
    other.dispose();
  });

  it("a promise in place of a result is refused, and one that rejects ends no process", async () => {
    await refused(() => model.generate(question, { allowedTokens: rejecting }), /allowedTokens: .*returns a promise/);
    await refused(() => model.runWithCache(question, { hooks: rejecting }), /hooks: .*returns a promise/);
    await refused(() => model.runWithCache(question, { hooks: async () => false }), /hooks: .*returns a promise/);
  });

  it("masks and positions of ready inputs are 0 or 1, and whole numbers", async () => {
    const ready = (more: object) => () => model.forward({ pixelValues: null, inputIds: [[2, 5]], ...more });
    for (const wrong of ["1", 2, NaN, null]) {
      await refused(ready({ attentionMask: [[1, wrong]] }), /attentionMask: expected 0 or 1, received/);
    }
    for (const wrong of ["1", -1, NaN, 0.5]) {
      await refused(ready({ positionIds: [[0, wrong]] }), /positionIds: expected whole numbers >= 0, received/);
    }
  });

  it("adapters are names or an object of factors, and no other object", async () => {
    for (const choice of [new Set(["x"]), new Map([["x", 5]]), new Date()]) {
      await refused(() => model.setAdapters(choice), /adapters: expected names, or an object of factors/);
    }
  });

  it("values of edits are finite numbers, and no part of an edit is empty", async () => {
    const edit = (more: object) => () =>
      model.runWithHooks(question, [{ hook: "language.blocks.0.attn.hook_z", op: "add", value: 1, ...more }]);
    for (const value of ["3", true, [null], [["3"]], NaN, Infinity]) {
      await refused(edit({ value }), /edits\[0\]\.value: expected a finite number/);
    }
    for (const part of ["positions", "heads", "units", "steps"]) {
      await refused(edit({ [part]: [] }), new RegExp(`edits\\[0\\]\\.${part}: expected at least one`));
    }
    await refused(() => model.runWithHooks(question, [ablateHeads(0, [])].flat()), /heads: expected at least one/);
    for (const steps of ["3:3", "5:2"]) await refused(edit({ steps }), /steps: expected a number or a range/);
    await refused(edit({ hook: "" }), /expected a glob, received ""/);
  });

  it("attribution patching wants prompts of equal length, and says so before it computes", async () => {
    const metric = logitDifference(3, 4);
    const questions = { clean: question, corrupted: { ...question, prompt: `${question.prompt} a red cap` } };
    const hooks = "language.blocks.*.hook_resid_pre";
    await refused(() => attributionPatching(model, questions, { hooks, metric }), /expected prompts of equal length/);
    const { activations, gradients } = await gradientsOf(model, question, { hooks, metric });
    activations.dispose();
    gradients.dispose();
  });
});
