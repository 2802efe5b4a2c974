import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import { InputError } from "../../../src/base/errors.js";
import { directLogitAttribution } from "../../../src/inspection/attribution.js";
import {
  attributionPatching,
  gradientMap,
  gradientsOf,
  integratedGradients,
} from "../../../src/inspection/gradients.js";
import { logitDifference, logProbability, type Metric, measure } from "../../../src/inspection/metric.js";
import { activationPatching } from "../../../src/inspection/patching.js";
import { PaliGemma } from "../../../src/paligemma.js";
import type { Question } from "../../../src/answering/question.js";
import { WeightsError } from "../../../weights/errors.js";
import { scratchFolder } from "../../support/batch-files.js";
import { counts, onEachBackend } from "../../support/backends.js";
import { refused } from "../../support/refused.js";
import { spoiltCheckpoint } from "../../support/spoilt.js";
import { tinyFolder, tinyModel } from "../../support/tiny.js";

onEachBackend("numbers of inspection that are not finite", (backend) => {
  const scratch = scratchFolder();
  let whole: PaliGemma;
  let spoilt: PaliGemma;
  let question: Question;
  before(async () => {
    ({ model: whole, question } = await tinyModel(backend));
    const from = tinyFolder("tiny-pg2");
    assert.ok(existsSync(path.join(from, "model.safetensors")));
    const norm = { name: "language_model.model.norm.weight", at: 3, value: NaN };
    const folder = await spoiltCheckpoint({ from, target: scratch("spoilt") }, norm);
    spoilt = await PaliGemma.load(folder, { backend });
    (await spoilt.forward(question)).dispose();
  });
  after(() => {
    whole.dispose();
    spoilt.dispose();
  });

  const leavesNothing = async (call: () => Promise<unknown>) => {
    const before = counts();
    await call();
    assert.deepEqual(counts(), before);
  };
  const metric = logitDifference(7, 60);
  const sweep = { leaf: "hook_resid_pre", layers: [1], positions: ["image"] };
  const hook = "projector.hook_out";
  const methods: Record<string, (model: PaliGemma, metric: Metric) => Promise<unknown>> = {
    "activation patching": (model, metric) =>
      activationPatching(model, { clean: question, corrupted: question }, metric, sweep),
    gradients: (model, metric) => gradientsOf(model, question, { hooks: hook, metric }),
    "attribution patching": (model, metric) =>
      attributionPatching(model, { clean: question, corrupted: question }, { hooks: hook, metric }),
    "integrated gradients": (model, metric) => integratedGradients(model, question, { hook, metric, steps: 2 }),
    "a map of gradients": (model, metric) => gradientMap(model, question, { metric }),
  };

  for (const [what, method] of Object.entries(methods)) {
    it(`${what}: a weight that is NaN is an error that says where to look, not a value`, () =>
      leavesNothing(() =>
        assert.rejects(method(spoilt, metric), (error: Error) => {
          assert.match(error.message, /expected finite (logits|numbers).*, received NaN; .*info --tensors/);
          return error instanceof WeightsError;
        }),
      ));
  }

  it("direct logit attribution: a weight that is NaN is an error, though only some tokens are asked for", () =>
    leavesNothing(() =>
      assert.rejects(directLogitAttribution(spoilt, question, { tokens: [7, 60] }), (error: Error) => {
        assert.match(error.message, /attribution: expected finite logits at position \d+, received NaN/);
        return error instanceof WeightsError;
      }),
    ));

  for (const what of ["activation patching", "gradients"]) {
    it(`${what}: a metric that makes an infinity of finite logits is the metric's fault`, () =>
      leavesNothing(() =>
        refused(
          () => methods[what](whole, (logits) => tf.tidy(() => logProbability(7)(logits).div(0))),
          /metric: expected a finite number of these logits, received -Infinity/,
        ),
      ));
  }

  const unconnected: Record<string, Metric> = {
    "a constant": () => tf.scalar(3),
    "a number read out of the logits": (logits) => tf.tidy(() => tf.scalar(logits.sum().dataSync()[0])),
  };
  for (const [what, constant] of Object.entries(unconnected)) {
    for (const way of ["gradients", "integrated gradients"]) {
      it(`${way} of ${what}: refused, and nothing of the tape stays`, () =>
        leavesNothing(() =>
          refused(
            () => methods[way](whole, constant),
            /metric: expected a number made of the logits by differentiable/,
          ),
        ));
    }
  }

  it("a metric that throws while the gradient is recorded leaves nothing, and the next gradient is right", async () => {
    const value = async () => {
      const { activations, gradients } = await gradientsOf(whole, question, { hooks: hook, metric });
      const numbers = Array.from(gradients.get(hook).dataSync());
      activations.dispose();
      gradients.dispose();
      return numbers;
    };
    const expected = await value();
    let calls = 0;
    const second: Metric = (logits) => {
      if (++calls === 2) throw new InputError("the second call");
      return metric(logits);
    };
    await leavesNothing(() => refused(() => methods.gradients(whole, second), /the second call/));
    assert.equal(calls, 2);
    assert.deepEqual(await value(), expected);
  });

  it("a derivative that is zero is no fault", async () => {
    const flat: Metric = (logits) => tf.tidy(() => metric(logits).mul<tf.Scalar>(0));
    const { value, activations, gradients } = await gradientsOf(whole, question, { hooks: hook, metric: flat });
    assert.deepEqual([value, gradients.get(hook).abs().max().dataSync()[0]], [0, 0]);
    activations.dispose();
    gradients.dispose();
  });

  it("a metric is measured as it is", async () => {
    const logits = tf.tensor3d([[[1, 2, 4]]]);
    assert.equal(await measure(logitDifference(2, 0), logits), 3);
    logits.dispose();
  });
});
