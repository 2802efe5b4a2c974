import assert from "node:assert/strict";
import { Script } from "node:vm";

import { float32Base64, pageDataOf, scriptJson } from "../../../src/pictures/page-data.js";
import { pageScript } from "../../../src/pictures/page-script.js";
import {
  createModel,
  float32Of,
  hookName,
  initialState,
  knockOutOf,
  massGrid,
  type Model,
  readersOf,
  shownMap,
  type State,
} from "../../../src/pictures/page/report-model.js";
import { numberText } from "../../../src/pictures/page/text.js";
import { hashOf, stateFromHash } from "../../../src/pictures/page/state.js";
import { renderReport, type ReportData } from "../../../src/pictures/report.js";
import { syntheticReport } from "./synthetic-report.js";

const HOSTILE = `</script></title><img src=x onerror="alert(1)"> & '<!--<script>\u0000\u2028\ud800\u202e`;

describe("renderReport", () => {
  let data: ReportData;
  before(async () => void (data = await syntheticReport()));

  it("is one file that refers to nothing outside of it, and whose policy forbids that", () => {
    const html = renderReport(data);
    assert.doesNotMatch(html, /\b(?:https?:)?\/\/[\w.-]+\.\w|\bsrc=|@import|url\(/);
    assert.match(html, /Content-Security-Policy" content="default-src 'none'; img-src data: blob:; style-src 'sha256-/);
  });

  it("shows hostile texts and runs none of them", () => {
    const texts = data.tokens.map(({ id }) => ({ id, text: HOSTILE }));
    const steps = data.steps.map((step) => ({ ...step, text: HOSTILE }));
    const edits = [{ description: HOSTILE, edits: [], before: HOSTILE, after: HOSTILE }];
    const settings = { [HOSTILE]: HOSTILE };
    const hostile = {
      ...data,
      tokens: texts,
      steps,
      edits,
      settings,
      prompt: HOSTILE,
      answer: HOSTILE,
      model: HOSTILE,
    };
    const html = renderReport({ ...hostile, backend: HOSTILE, dtype: HOSTILE });
    assert.doesNotMatch(html, /<img|<!--|[\u0000\u2028\ud800\u202e]/); // eslint-disable-line no-control-regex
    for (const tag of ["<script", "</script>", "</title>"]) {
      assert.equal(html.split(tag).length, renderReport(data).split(tag).length, tag);
    }
  });

  it("refuses parts that do not fit each other, and names them", () => {
    const refused = (change: Partial<ReportData>, message: RegExp) =>
      assert.throws(() => renderReport({ ...data, ...change }), { name: "InputError", message });
    const { attention, logitLens, pictures, segments, steps } = data;
    refused({ grid: [5, 4] }, /expected 1 pictures of 5 x 4 patches = 20 positions named image, got 15/);
    refused({ grid: [3, 0] }, /grid columns: expected a positive integer, got 0/);
    refused({ pictures: [] }, /pictures: expected at least one/);
    refused({ pictures: [...pictures, ...pictures] }, /= 30 positions named image, got 15/);
    refused(
      { segments: [...segments, { name: "pad", start: 22, end: 99 }] },
      /pad is \[22, 99\), outside of the 23 tokens/,
    );
    refused({ attention: { ...attention, heads: 3 } }, /x 4 layers x 3 heads x 22 keys = \d+ values, got \d+/);
    refused(
      { attention: { ...attention, queries: attention.queries.map(() => 3) } },
      /queries\[1\]: expected a position/,
    );
    refused(
      { attention: { ...attention, values: attention.values.map(() => -1) } },
      /weights of at least 0, got -1 at 0/,
    );
    refused({ attention: { ...attention, layers: 10 ** 6 } }, /8 queries are 352000000 weights, a page holds 67108864/);
    refused({ tokens: data.tokens.slice(0, 20), segments: segments.slice(0, 2), steps: [] }, /22 keys, but 20 tokens/);
    refused(
      { steps: [{ ...steps[0], probability: 2 }] },
      /steps\[0\]\.probability: expected a number in \[0, 1\], got 2/,
    );
    refused({ steps: [{ ...steps[0], position: 20 }] }, /token 100 at position 20, where tokens hold 20/);
    refused({ steps: [{ ...steps[0], position: 0 }] }, /position: expected 1 to 23, got 0/);
    refused({ logitLens: { ...logitLens!, layers: [0] } }, /cells: expected 1 layers, got 4/);
    refused({ logitLens: { ...logitLens!, positions: [1, 2, 99] } }, /positions below 23, got 99/);
  });
});

describe("the page's program", () => {
  it("is one script without imports, in which no name is declared twice", () => {
    const script = pageScript();
    assert.doesNotMatch(script, /^\s*(?:import|export)\b|<\/script|sourceMappingURL/m);
    // In a block of strict code a second declaration of a name is an error.
    assert.doesNotThrow(() => new Script(`"use strict"; {${script}}`));
  });
});

describe("data inside of a page", () => {
  it("cannot close its element, and is the same when it is read", () => {
    const value = { text: HOSTILE, list: ["]]>", "\u2029"] };
    assert.doesNotMatch(scriptJson(value), /[<>&\u2028\u2029]/);
    assert.deepEqual(JSON.parse(scriptJson(value)), value);
  });

  it("keeps every bit of float32 numbers", () => {
    const values = Float32Array.of(0, -0, 1e-45, 0.1, 3.4e38, -7);
    assert.deepEqual(float32Of(float32Base64(values)), values);
    assert.equal(float32Base64(Float32Array.of(1)), "AACAPw==");
  });
});

describe("the model of a page", () => {
  let data: ReportData;
  let model: Model;
  let state: State;
  beforeEach(async () => {
    data = await syntheticReport();
    model = createModel(JSON.parse(scriptJson(pageDataOf(data))));
    state = initialState(model);
  });

  it("opens with the query that chose the first token, on average over all heads", () => {
    assert.equal(model.rows.queries[state.query], data.steps[0].position - 1);
    assert.deepEqual([state.layer, state.head], [null, null]);
  });

  it("has the map of one head, with the scale of all layers' heads", () => {
    const { queries, layers, heads, keys, values } = data.attention;
    const map = shownMap(model, { ...state, layer: 2, head: 1 });
    const row = ((state.query * layers + 2) * heads + 1) * keys;
    assert.deepEqual(map.values, Float64Array.from(values.subarray(row, row + 15)));
    const all = values.subarray(state.query * layers * heads * keys, (state.query + 1) * layers * heads * keys);
    const patches = all.filter((_, i) => i % keys < 15);
    assert.equal(map.scale.high, Math.max(...patches));
    assert.equal(map.words, `raw values, one scale for 8 maps: 0 to ${numberText(map.scale.high)}`);
    assert.equal(queries.length, model.rows.queries.length);
  });

  it("drops what is elsewhere when it renormalises, and says how much", () => {
    const map = shownMap(model, { ...state, normalisation: "renormalised" });
    assert.ok(Math.abs(map.shown.reduce((sum, value) => sum + value, 0) - 1) < 1e-6);
    const said = Number(map.words.match(/left out\) ([\d.]+)$/)![1]);
    assert.ok(Math.abs(said - (1 - map.mass)) < 1e-3);
  });

  it("leaves out three patches of each map when asked to", () => {
    const { shown, values } = shownMap(model, { ...state, leaveOut: true });
    const out = [...shown.keys()].filter((patch) => Number.isNaN(shown[patch]));
    const least = Math.min(...out.map((patch) => values[patch]));
    assert.equal(out.length, 3);
    assert.ok([...values.keys()].every((patch) => out.includes(patch) || values[patch] <= least));
  });

  it("sums the mass of a segment for each layer and head, with means outside", () => {
    const size = (4 + 1) * (2 + 1);
    const total = new Float64Array(size);
    for (const name of model.segmentNames) {
      const { values } = massGrid(model, name);
      for (let i = 0; i < size; i++) total[i] += values[state.query * size + i];
    }
    total.forEach((sum) => assert.ok(Math.abs(sum - 1) < 1e-5));
    const { values } = massGrid(model, "image");
    const at = (layer: number, head: number) => values[state.query * size + layer * 3 + head];
    assert.ok(Math.abs(at(1, 2) - (at(1, 0) + at(1, 1)) / 2) < 1e-12);
    assert.ok(Math.abs(at(4, 1) - (at(0, 1) + at(1, 1) + at(2, 1) + at(3, 1)) / 4) < 1e-12);
  });

  it("knows which query attends most to a patch: the one that was made to", () => {
    const where = { ...state, layer: 1, head: 1 };
    const values = readersOf(model, where, { top: 2, left: 4, bottom: 2, right: 4 });
    assert.equal(values.indexOf(Math.max(...values)), state.query);
    const all = readersOf(model, where, { top: 0, left: 0, bottom: 2, right: 4 });
    assert.ok(Math.abs(all[state.query] - shownMap(model, where).mass) < 1e-12);
  });

  it("names the hook, and the edit that closes the shown way in its pass", () => {
    assert.equal(hookName({ layer: null }), "language.blocks.*.attn.hook_pattern");
    const hook = "language.blocks.3.attn.hook_attn_scores";
    const box = { top: 1, left: 3, bottom: 2, right: 4 };
    assert.deepEqual(knockOutOf(model, { ...state, layer: 3, head: 0, box }), {
      hook,
      op: "close",
      positions: [20],
      keys: [8, 9, 13, 14],
      heads: [0],
      steps: [0], // prettier-ignore
    });
    const generated = model.rows.queries.indexOf(21);
    assert.deepEqual(knockOutOf(model, { ...state, layer: 3, query: generated, segment: "suffix" }), {
      hook,
      op: "close",
      positions: [21],
      keys: ["21:22"],
      steps: [1], // prettier-ignore
    });
    assert.equal(knockOutOf(model, { ...state, segment: "suffix" }), null);
  });

  it("comes back from its address, and takes nothing from one that does not fit", () => {
    const box = { top: 0, left: 1, bottom: 2, right: 3 };
    const chosen: State = { ...state, layer: 2, head: 1, box, normalisation: "log", undoSquash: true };
    assert.deepEqual(stateFromHash(hashOf(chosen), state, model), chosen);
    const wrong = {
      query: 99,
      layer: 4,
      head: -1,
      box: { ...box, right: 5 },
      segment: "x",
      normalisation: "x",
      opacity: 2,
    };
    for (const hash of [
      `#${encodeURIComponent(JSON.stringify({ ...wrong, __proto__x: 1 }))}`,
      "#%",
      "#null",
      "#7",
      "",
    ]) {
      assert.deepEqual(stateFromHash(hash, state, model), state);
    }
  });
});
