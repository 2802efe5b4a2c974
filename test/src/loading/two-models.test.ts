import { strict as assert } from "node:assert";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";

import type { Tap } from "../../../layers/tap.js";
import { PaliGemma } from "../../../src/paligemma.js";
import { fixtures, readReference } from "../../parity/reference.js";
import { tinyFolder } from "../../support/tiny.js";

describe("two models on two backends", () => {
  it("answer in turns, step by step, each on its own backend, as they answer alone", async () => {
    const folder = path.join(fixtures, "references", "tiny-pg2", "prompt");
    const reference = await readReference(folder);
    const question = { image: path.join(folder, reference.pictures[0][0]), prompt: reference.prompts[0] };
    const [first, second] = await Promise.all(
      (["wasm", "cpu"] as const).map((backend) => PaliGemma.load(tinyFolder("tiny-pg2"), { backend })),
    );
    const answers = await Promise.all(
      [first, second, first].map((model) => model.generate(question, { maxNewTokens: 12 })),
    );
    for (const { tokens } of answers) assert.deepEqual(tokens, reference.greedy[0].slice(0, 12));
    assert.deepEqual(
      answers.map(({ backend }) => backend),
      ["wasm", "cpu", "wasm"],
    );
    for (const model of [first, second]) {
      const tap: Tap = (_name, value) => {
        assert.equal(tf.getBackend(), model.backend);
        return value;
      };
      (await model.forward(question, { tap })).dispose();
    }
    first.dispose();
    second.dispose();
  });
});
