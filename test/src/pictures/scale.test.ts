import assert from "node:assert/strict";

import fc from "fast-check";
import { attentionRow, largest, leaveOut, massBySegment, rankOf } from "../../../src/pictures/page/attention-rows.js";
import { fractionOf, LOG_FLOOR, normalise, NORMALISATIONS, valueAt } from "../../../src/pictures/page/scale.js";

const weights = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 1, maxLength: 12 });

describe("normalise", () => {
  it("raw keeps the values and gives every map the scale from 0 to the largest of all", () => {
    const { maps, scales, words } = normalise([[0.1, 0.2], [0.05, 0.4, 0.3]], "raw"); // prettier-ignore
    assert.deepEqual([...maps[1]], [0.05, 0.4, 0.3]);
    assert.equal(fractionOf(maps[0][1], scales[0]), 0.5);
    assert.equal(scales[0], scales[1]);
    assert.equal(words, "raw values, one scale for 2 maps: 0 to 0.4");
  });

  it("renormalised makes each map sum to 1 and says how much was dropped", () => {
    const { maps, words } = normalise([[0.1, 0.3], [0.5, 0.25]], "renormalised"); // prettier-ignore
    assert.deepEqual([...maps[0]], [0.25, 0.7499999999999999]);
    assert.match(words, /dropped mass .*0\.25 to 0\.6$/);
  });

  it("min-max gives each map its own ends and warns of it", () => {
    const { scales, words } = normalise([[0.1, 0.2], [0.4, 0.8]], "min-max"); // prettier-ignore
    assert.deepEqual(scales.map(({ low, high }) => [low, high]), [[0.1, 0.2], [0.4, 0.8]]); // prettier-ignore
    assert.match(words, /per map; brightness cannot be compared/);
  });

  it("log draws what is smaller than its floor as the floor, and halves decades", () => {
    const { scales } = normalise([[1e-9, 1e-4, 1e-2]], "log");
    assert.equal(scales[0].low, LOG_FLOOR);
    assert.equal(fractionOf(1e-9, scales[0]), 0);
    assert.ok(Math.abs(fractionOf(1e-4, scales[0]) - 0.5) < 1e-12);
  });

  it("signed values lie around 0 on a diverging scale", () => {
    const { scales } = normalise([[-0.5, 0.1]], "raw");
    assert.deepEqual(scales[0], { low: -0.5, high: 0.5, kind: "linear", colours: "diverging" });
    assert.equal(fractionOf(0, scales[0]), 0.5);
  });

  it("what is left out has no place on the scale and counts for neither end nor sum", () => {
    const { maps, scales } = normalise([leaveOut([0.9, 0.1, 0.3], [0])], "renormalised");
    assert.deepEqual([maps[0][0], fractionOf(maps[0][0], scales[0])], [NaN, NaN]);
    assert.ok(Math.abs(maps[0][2] - 0.75) < 1e-12 && scales[0].high === maps[0][2]);
  });

  it("a given end of the scale replaces the largest value", () => {
    assert.equal(normalise([[0.1]], "raw", 0.8).scales[0].high, 0.8);
  });

  it("fractions lie in [0, 1], keep the order, and the value there comes back, whatever the values", () => {
    fc.assert(
      fc.property(
        fc.array(weights, { minLength: 1, maxLength: 4 }),
        fc.constantFrom(...NORMALISATIONS),
        (given, how) => {
          const { maps, scales } = normalise(given, how);
          maps.forEach((map, i) => {
            const at = Array.from(map, (value) => fractionOf(value, scales[i]));
            assert.ok(at.every((fraction) => fraction >= 0 && fraction <= 1));
            at.forEach((a, j) => at.forEach((b, k) => assert.ok(!(map[j] < map[k]) || a <= b)));
          });
          assert.ok(Math.abs(valueAt(1, scales[0]) - scales[0].high) <= 1e-12 * scales[0].high);
        },
      ),
    );
  });
});

describe("attention rows", () => {
  // [2 queries, 3 layers, 2 heads, 4 keys]
  const values = Float32Array.from({ length: 2 * 3 * 2 * 4 }, (_, i) => i);
  const rows = { queries: [5, 9], layers: 3, heads: 2, keys: 4, values };

  it("are found by query, layer and head", () => {
    assert.deepEqual([...attentionRow(rows, 1, 2, 0)], [40, 41, 42, 43]);
  });

  it("are means over the heads, the layers or both", () => {
    assert.deepEqual([...attentionRow(rows, 0, 1, null)], [10, 11, 12, 13]);
    assert.deepEqual([...attentionRow(rows, 0, null, 1)], [12, 13, 14, 15]);
    assert.deepEqual([...attentionRow(rows, 1, null, null)], [34, 35, 36, 37]);
  });

  it("are summed by segment, and a segment that ends behind the keys is cut", () => {
    const segments = [
      { name: "image", start: 0, end: 3 },
      { name: "suffix", start: 3, end: 6 },
    ] as const;
    assert.deepEqual(massBySegment([0.25, 0.25, 0.125, 0.375], segments), [
      { name: "image", start: 0, end: 3, mass: 0.625 },
      { name: "suffix", start: 3, end: 6, mass: 0.375 },
    ]);
  });

  it("name the largest cells without those left out, and equal values share a rank", () => {
    assert.deepEqual(largest([0.1, NaN, 0.5, 0.5, 0.2], 3), [2, 3, 4]);
    assert.deepEqual([2, 3, 4, 0].map((cell) => rankOf([0.1, NaN, 0.5, 0.5, 0.2], cell)), [1, 1, 3, 4]); // prettier-ignore
  });
});
