import assert from "node:assert/strict";

import seedrandom from "seedrandom";

import { parseObjects } from "../../../src/grammar/parse-objects.js";

const loc = (...values: number[]) => values.map((value) => `<loc${String(value).padStart(4, "0")}>`).join("");
const seg = (...values: number[]) => values.map((value) => `<seg${String(value).padStart(3, "0")}>`).join("");
const codes = Array.from({ length: 16 }, (_, i) => 8 * i + 7);

describe("taking an answer apart into objects", () => {
  it("boxes with labels, in the order y0, x0, y1, x1", () => {
    const text = `${loc(51, 309, 708, 646)} shoe ; ${loc(0, 0, 1023, 1)} left shoe`;
    const { objects, texts, warnings } = parseObjects(text);
    assert.deepEqual([texts, warnings], [[], []]);
    assert.deepEqual(
      objects.map((one) => one.valid && [one.label, one.box, one.codes]),
      [
        ["shoe", [51, 309, 708, 646], null],
        ["left shoe", [0, 0, 1023, 1], null],
      ],
    );
    assert.equal(text.slice(objects[0].start, objects[0].end).trim(), `${loc(51, 309, 708, 646)} shoe`);
  });

  it("mask codes, with and without spaces around them", () => {
    for (const between of ["", " ", "   "]) {
      const [object] = parseObjects(`${loc(1, 2, 3, 4)}${between}${seg(...codes)}${between}cat`).objects;
      assert.deepEqual(object.valid && [object.box, object.codes, object.label], [[1, 2, 3, 4], codes, "cat"]);
    }
  });

  it("an object without a label, and labels in other scripts", () => {
    const { objects, warnings } = parseObjects(`${loc(1, 2, 3, 4)} ; ${loc(1, 2, 3, 4)} собака ; ${loc(5, 6, 7, 8)}`);
    assert.deepEqual(
      objects.map(({ label }) => label),
      ["", "собака", ""],
    );
    assert.deepEqual(warnings, []);
  });

  const broken: [string, string, RegExp][] = [
    ["three locations", `${loc(1, 2, 3)} cat`, /3 locations, expected 4/],
    ["locations behind the last", `${loc(1, 2, 3, 1024)} cat`, /location 1024/],
    ["a box upside down", `${loc(30, 2, 3, 40)} cat`, /no area/],
    ["a box of no width", `${loc(1, 2, 3, 2)} cat`, /no area/],
    ["fifteen mask codes", `${loc(1, 2, 3, 4)}${seg(...codes.slice(1))} cat`, /15 mask codes, expected 16/],
    ["a mask code behind the last", `${loc(1, 2, 3, 4)}${seg(128, ...codes.slice(1))} cat`, /mask code 128/],
    ["codes without a box", `${seg(...codes)} cat`, /0 locations/],
  ];
  for (const [what, text, reason] of broken) {
    it(`${what} are kept as an invalid object with the reason, and the next one is read`, () => {
      const { objects, warnings } = parseObjects(`${text} ; ${loc(1, 2, 3, 4)} dog`);
      assert.deepEqual(
        objects.map(({ valid, label }) => [valid, label]),
        [
          [false, "cat"],
          [true, "dog"],
        ],
      );
      assert.match(warnings[0], reason);
      assert.equal(warnings.length, 1);
    });
  }

  it("more tokens than an object has begin another", () => {
    const { objects } = parseObjects(loc(1, 2, 3, 4, 5, 6, 7, 8));
    assert.deepEqual(
      objects.map((one) => one.valid && one.box),
      [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
      ],
    );
    assert.equal(parseObjects(`${loc(1, 2, 3, 4)}${seg(...codes, 9)} cat`).objects.length, 2);
  });

  it("text that belongs to no object is kept, and said", () => {
    const { objects, texts, warnings } = parseObjects(`I see <b> ; ${loc(1, 2, 3, 4)} cat > dog ; end`);
    assert.deepEqual(
      objects.map(({ label }) => label),
      ["cat"],
    );
    assert.deepEqual(texts, ["I see <b>", "> dog ; end"]);
    assert.equal(warnings.length, 2);
    assert.deepEqual(parseObjects("no cats here"), {
      objects: [],
      texts: ["no cats here"],
      warnings: ['text outside of objects: "no cats here"'],
    });
    assert.deepEqual(parseObjects(""), { objects: [], texts: [], warnings: [] });
  });

  it("never throws, loses no token and ends, for 20,000 random and mutated outputs", () => {
    const random = seedrandom("outputs");
    const below = (n: number) => Math.floor(random() * n);
    const pieces = [
      "<loc",
      "<seg",
      ">",
      "<",
      ";",
      " ; ",
      " ",
      "cat",
      "\n",
      "0",
      "</s>",
      "<loc12>",
      "\u0000",
      "🐈",
      "<loc99999>",
    ];
    const piece = () => {
      const kind = below(5);
      if (kind === 0) return loc(below(1100));
      if (kind === 1) return loc(below(1024), below(1024), below(1024), below(1024));
      if (kind === 2) return seg(below(140));
      if (kind === 3) return seg(...Array.from({ length: 16 }, () => below(128)));
      return pieces[below(pieces.length)];
    };
    for (let i = 0; i < 20_000; i++) {
      let text = Array.from({ length: below(12) }, piece).join("");
      if (i % 2 && text.length > 0) {
        const at = below(text.length);
        text = text.slice(0, at) + pieces[below(pieces.length)] + text.slice(at + below(3));
      }
      const { objects } = parseObjects(text);
      const tokens = [...text.matchAll(/<loc\d{4}>|<seg\d{3}>/g)].map(({ index }) => index);
      const inside = tokens.filter((at) => objects.some(({ start, end }) => at >= start && at < end));
      assert.equal(inside.length, tokens.length, `a token of ${JSON.stringify(text)} belongs to no object`);
      objects.forEach(({ start, end }, k) => assert.ok(end > start && (k === 0 || start >= objects[k - 1].end)));
    }
  });
});
