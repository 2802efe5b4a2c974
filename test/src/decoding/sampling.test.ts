import { strict as assert } from "node:assert";

import { InputError } from "../../../src/base/errors.js";
import { createSampler, warpedProbabilities } from "../../../src/decoding/sampling.js";

const logits = Float32Array.from([1, 3, 2, 3, -1, 0.5]);
const softmax = (values: number[]) => {
  const total = values.reduce((sum, value) => sum + Math.exp(value), 0);
  return values.map((value) => Math.exp(value) / total);
};
const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-7, `${a} against ${b}`);

describe("sampling", () => {
  it("without warping is the softmax of the logits", () => {
    const expected = softmax([...logits]);
    const candidates = warpedProbabilities(logits);
    assert.equal(candidates.length, 6);
    for (const { id, probability } of candidates) near(probability, expected[id]);
  });

  it("divides logits by the temperature", () => {
    const expected = softmax([...logits].map((value) => value / 0.5));
    for (const { id, probability } of warpedProbabilities(logits, 0.5)) near(probability, expected[id]);
  });

  it("keeps the k most likely, with ties at the last place", () => {
    const ids = (k: number) => warpedProbabilities(logits, 1, k).map(({ id }) => id);
    assert.deepEqual(ids(1), [1, 3]);
    assert.deepEqual(ids(3), [1, 3, 2]);
    assert.deepEqual(ids(99), [1, 3, 2, 0, 5, 4]);
  });

  it("keeps the smallest set that reaches p, and at least one token", () => {
    const ids = (p: number) => warpedProbabilities(logits, 1, undefined, p).map(({ id }) => id);
    const [p1, p2] = softmax([...logits]).sort((a, b) => b - a);
    assert.deepEqual(ids(1e-9), [1]);
    assert.deepEqual(ids(p1 * 0.99), [1]);
    assert.deepEqual(ids(p1 * 1.01), [1, 3]);
    assert.deepEqual(ids((p1 + p2) * 1.01), [1, 3, 2]);
    assert.deepEqual(ids(1).length, 6);
  });

  it("renormalises what is left", () => {
    const total = warpedProbabilities(logits, 0.7, 4, 0.9).reduce((sum, { probability }) => sum + probability, 0);
    near(total, 1);
  });

  it("draws each token as often as its probability says", () => {
    const sampler = createSampler({ temperature: 1, seed: 7 })!;
    const counts = new Float64Array(6);
    const draws = 20000;
    for (let i = 0; i < draws; i++) counts[sampler(logits)]++;
    softmax([...logits]).forEach((p, id) => {
      const sigma = Math.sqrt(p * (1 - p) * draws);
      assert.ok(Math.abs(counts[id] - p * draws) < 5 * sigma, `token ${id}: ${counts[id]} of ${p * draws}`);
    });
  });

  it("repeats its draws with the same seed and not with another", () => {
    const draws = (seed: number) => {
      const sampler = createSampler({ temperature: 2, seed })!;
      return Array.from({ length: 20 }, () => sampler(logits));
    };
    assert.deepEqual(draws(3), draws(3));
    assert.notDeepEqual(draws(3), draws(4));
  });

  it("is off when nothing asks for it, and at temperature 0, whatever else is given", () => {
    for (const options of [{ seed: 3 }, { temperature: 0 }, { temperature: 0, topK: 4, topP: 0.5 }, { topK: 0 }]) {
      assert.equal(createSampler(options), null, JSON.stringify(options));
    }
  });

  it("topK 0 is no limit: the draws are those without it", () => {
    const [limited, free] = [
      createSampler({ temperature: 3, topK: 0, seed: 5 }),
      createSampler({ temperature: 3, seed: 5 }),
    ];
    const logits = Float32Array.from({ length: 40 }, (_, i) => Math.sin(i));
    const draws = Array.from({ length: 200 }, () => [limited!(logits), free!(logits)]);
    assert.ok(draws.every(([a, b]) => a === b));
    assert.ok(new Set(draws.map(([a]) => a)).size > 20);
  });

  for (const options of [
    { temperature: -1 },
    { temperature: NaN },
    { topK: -1 },
    { topK: 1.5 },
    { topP: 0 },
    { topP: 1.1 },
  ]) {
    it(`refuses ${JSON.stringify(options)}, naming the option`, () => {
      const [name] = Object.keys(options);
      assert.throws(
        () => createSampler(options),
        (error) => error instanceof InputError && error.message.startsWith(name),
      );
    });
  }
});
