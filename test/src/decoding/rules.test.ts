import assert from "node:assert/strict";

import { BeamRow, checkedBeamOptions } from "../../../src/decoding/beam-row.js";
import { largest, likeliest, logSumExp } from "../../../src/decoding/log-probabilities.js";
import { finishOf, tokenLimits } from "../../../src/decoding/options.js";
import { startRows } from "../../../src/decoding/rows.js";
import { tokenRule, type TokenRules } from "../../../src/decoding/rules.js";
import type { PaliGemmaConfig } from "../../../src/model/config.js";
import { InputError } from "../../../src/base/errors.js";

const V = 8;
const VOCABULARY = { vocabSize: V, eosTokenIds: [1] };
const applied = (rules: TokenRules, scores: number[], prompt: number[], generated: number[]): number[] => {
  const values = Float32Array.from(scores);
  tokenRule(rules, VOCABULARY)?.(values, { prompt, generated, limit: 20 });
  return Array.from(values);
};
const scores = [1, -2, 3, -4, 0.5, 6, -7, 8];
const out = (...ids: number[]) => scores.map((score, id) => (ids.includes(id) ? -Infinity : score));

describe("rules of the next token", () => {
  it("are none where no option says so", () => {
    assert.equal(tokenRule({}, VOCABULARY), null);
    assert.equal(tokenRule({ repetitionPenalty: 1, badWords: [], forcedPrefix: [] }, VOCABULARY), null);
  });

  it("a penalty divides scores above zero and multiplies those below, once for each id of prompt and answer", () => {
    const changed = applied({ repetitionPenalty: 2 }, scores, [1, 5, 5], [3, 1]);
    assert.deepEqual(changed, [1, -4, 3, -8, 0.5, 3, -7, 8]);
  });

  it("bad words of one id are never there, of several only where the answer or the prompt has begun them", () => {
    const badWords = [[2], [4, 5], [6, 7, 1]];
    assert.deepEqual(applied({ badWords }, scores, [], []), out(2));
    assert.deepEqual(applied({ badWords }, scores, [0, 4], []), out(2, 5));
    assert.deepEqual(applied({ badWords }, scores, [4, 6], [7]), out(2, 1));
    assert.deepEqual(applied({ badWords }, scores, [7, 6], []), out(2), "in their order");
    assert.deepEqual(applied({ badWords }, scores, [7], []), out(2), "not by half of what comes before");
  });

  it("allowed tokens leave the others none, by a list or by what has been generated", () => {
    assert.deepEqual(applied({ allowedTokens: [1, 7] }, scores, [], []), out(0, 2, 3, 4, 5, 6));
    const allowedTokens = (generated: readonly number[]) => (generated.length === 0 ? [3] : null);
    assert.deepEqual(applied({ allowedTokens }, scores, [2], []), out(0, 1, 2, 4, 5, 6, 7));
    assert.deepEqual(applied({ allowedTokens }, scores, [], [3]), scores);
  });

  it("a forced prefix is chosen even where it is forbidden, and ends", () => {
    const rules = { forcedPrefix: [6, 2], badWords: [[6]] };
    assert.deepEqual(applied(rules, scores, [], []).indexOf(0), 6);
    assert.deepEqual(applied(rules, scores, [], [6]), out(0, 1, 3, 4, 5, 6, 7));
    assert.deepEqual(applied(rules, scores, [], [6, 2]), out(6));
  });

  it("throw where nothing is left, and for values out of range", () => {
    const nothing = { allowedTokens: [3], badWords: [[3]] };
    assert.throws(() => applied(nothing, scores, [], []), { name: "InputError", message: /leave no token/ });
    for (const wrong of [
      { repetitionPenalty: 0 },
      { repetitionPenalty: Infinity },
      { badWords: [[]] },
      { badWords: [[V]] },
      { allowedTokens: [] },
      { allowedTokens: [-1] },
      { allowedTokens: () => [1.5] },
      { forcedPrefix: [V] },
    ])
      assert.throws(() => applied(wrong, scores, [], []), InputError, JSON.stringify(wrong));
  });
});

describe("the likeliest tokens", () => {
  const logits = Float32Array.from([2, 5, -1, 5, 3, -Infinity]);
  it("come largest first, of equal ones the lower id, without those that are forbidden", () => {
    assert.deepEqual(
      largest(logits, 3).map(({ id }) => id),
      [1, 3, 4],
    );
    assert.equal(largest(logits, 9).length, 5);
  });
  it("have the logs of probabilities that sum to 1", () => {
    const total = likeliest(logits, 6).reduce((sum, { logProbability }) => sum + Math.exp(logProbability), 0);
    assert.ok(Math.abs(total - 1) < 1e-12);
    assert.ok(Math.abs(logSumExp(logits) - Math.log([2, 5, -1, 5, 3].reduce((s, x) => s + Math.exp(x), 0))) < 1e-12);
    assert.ok(Number.isFinite(logSumExp(Float32Array.from([300, 299]))));
  });
});

describe("the end of an answer", () => {
  it("is an end id, then a stop rule, then the limit", () => {
    const ending = { eosTokenIds: [1], limit: 3, stopRules: [(ids: readonly number[]) => ids.includes(9)] };
    assert.equal(finishOf([5, 1], ending), "eos");
    assert.equal(finishOf([5, 9], ending), "stop");
    assert.equal(finishOf([9, 1], ending), "eos");
    assert.equal(finishOf([5, 6, 7], ending), "length");
    assert.equal(finishOf([5, 6], ending), null);
  });
  it("comes at the model's context where that is nearer, for each row by its own length", () => {
    assert.deepEqual(tokenLimits([10, 95, 100, 101], 100, { maxNewTokens: 20 }), [20, 6, 1, 1]);
    assert.deepEqual(tokenLimits([10, 12], 100, { maxLength: 15 }), [5, 3]);
    assert.deepEqual(tokenLimits([10, 12], 100, { maxLength: 15, maxNewTokens: 4 }), [4, 3]);
    assert.deepEqual(tokenLimits([10], 600), [256]);
    assert.throws(() => tokenLimits([10, 15], 100, { maxLength: 15 }), /more than the 15 tokens of the prompt/);
    for (const wrong of [0, 1.5, NaN]) assert.throws(() => tokenLimits([1], 9, { maxNewTokens: wrong }), InputError);
  });
});

describe("rows of a run", () => {
  const config = { text: { maxPositionEmbeddings: 10 } } as PaliGemmaConfig;
  const inputs = {
    pixelValues: null,
    inputIds: [
      [0, 0, 7, 8],
      [5, 6, 7, 0],
    ],
    attentionMask: [
      [0, 0, 1, 1],
      [1, 1, 1, 1],
    ],
  };
  it("know their prompt without pads, and have room by its own length", () => {
    const rows = startRows(config, inputs, { copies: 2, maxNewTokens: 8 });
    assert.deepEqual(
      rows.map(({ prompt, limit }) => [prompt, limit]),
      [
        [[7, 8], 8],
        [[7, 8], 8],
        [[5, 6, 7, 0], 7],
        [[5, 6, 7, 0], 7],
      ],
    );
    assert.notEqual(rows[0].generated, rows[1].generated);
  });
  it("draw only where sampling is asked for, and then each for itself", () => {
    assert.equal(startRows(config, inputs, {})[0].sampler, null);
    const rows = startRows(config, inputs, { copies: 2, temperature: 1, seed: 4 });
    const flat = new Float32Array(1000);
    const drawn = rows.map(({ sampler }) => sampler!(flat));
    assert.equal(drawn[0], drawn[2], "copy 0 of each prompt");
    assert.notEqual(drawn[0], drawn[1]);
    assert.throws(() => startRows(config, inputs, { copies: 0 }), InputError);
  });
});

describe("beams of one prompt", () => {
  const ending = { eosTokenIds: [0] };
  const logs = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);
  it("keeps an answer that ends, and runs on with the best that do not", () => {
    const row = new BeamRow({ prompt: [], limit: 3 }, { numBeams: 2 }, ending);
    assert.deepEqual(row.advance([logs(0.5, 0.3, 0.15, 0.05)]), [
      { beam: 0, token: 1 },
      { beam: 0, token: 2 },
    ]);
    assert.deepEqual(
      row.finished.map(({ tokens }) => tokens),
      [[0]],
    );
    assert.deepEqual(row.advance([logs(0.1, 0.2, 0.6, 0.1), logs(0.9, 0.05, 0.04, 0.01)]), [
      { beam: 0, token: 2 },
      { beam: 0, token: 1 },
    ]);
    assert.deepEqual(
      row.finished.map(({ tokens }) => tokens),
      [[0], [2, 0]],
      "0.5 at length 1 before 0.135 at length 2",
    );
  });
  it("looks at as many continuations as ends could take away, and one for each beam more", () => {
    const row = new BeamRow(
      { prompt: [], limit: 9 },
      { numBeams: 2, earlyStopping: "never", lengthPenalty: 2 },
      { eosTokenIds: [0, 1] },
    );
    row.advance([logs(0.01, 0.01, 0.5, 0.48)]);
    // Both beams would rather end, either way.
    assert.deepEqual(row.advance([logs(0.4, 0.38, 0.12, 0.1), logs(0.41, 0.39, 0.11, 0.09)]), [
      { beam: 0, token: 2 },
      { beam: 1, token: 2 },
    ]);
  });
  it("at its limit everything that runs ends", () => {
    const row = new BeamRow({ prompt: [], limit: 1 }, { numBeams: 2 }, ending);
    assert.deepEqual(row.advance([logs(0.1, 0.2, 0.3, 0.4)]), []);
    assert.deepEqual(
      row.finished.map(({ tokens, finishReason }) => [tokens, finishReason]),
      [
        [[3], "length"],
        [[2], "length"],
      ],
    );
  });
  it("refuses options out of range", () => {
    for (const wrong of [
      { numBeams: 0 },
      { numBeams: 1.5 },
      { lengthPenalty: NaN },
      { earlyStopping: "maybe" as never },
    ])
      assert.throws(() => checkedBeamOptions(wrong), InputError);
  });
});
