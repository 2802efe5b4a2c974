import assert from "node:assert/strict";

import sharp from "sharp";
import { drawAttentionMap } from "../../../src/pictures/attention-map.js";
import { colourAt, hexOf, luminance } from "../../../src/pictures/colour-map.js";
import { drawHeadGallery } from "../../../src/pictures/head-gallery.js";
import { drawLogitLens, type LensReading } from "../../../src/pictures/logit-lens-grid.js";
import { drawMask } from "../../../src/pictures/mask-drawing.js";
import { drawOverview } from "../../../src/pictures/overview.js";
import { toPng } from "../../../src/pictures/png.js";
import { describeSinks } from "../../../src/pictures/sinks.js";
import { frameOf, greyPicture, pixelsOf } from "./pixels.js";

const HOSTILE = `</title><script>alert("1" & '2')</script>\u0000\u001b[31m\ud800\u202e]]>&amp;`;

/** [rows * columns] with a small value everywhere and one large one. */
function peak(rows: number, columns: number, row: number, column: number): Float32Array {
  const values = Float32Array.from({ length: rows * columns }, (_, i) => 0.001 * (1 + (i % 5)));
  values[row * columns + column] = 0.5;
  return values;
}

const lensCell = (text: string, probability: number): LensReading => ({
  top: [{ id: 3, text, probability }],
  entropy: 1.5,
  finalRank: 2,
  klToFinal: 0.25,
});

describe("drawAttentionMap", () => {
  it("is brightest over the patch with the largest value, on the square and in the old proportions", async () => {
    const picture = await greyPicture(56, { width: 90, height: 30 });
    for (const undoSquash of [false, true]) {
      const svg = drawAttentionMap({ values: peak(3, 5, 2, 1), grid: [3, 5], picture, title: "q", undoSquash });
      const frame = frameOf(svg, /<image [^>]*>/);
      assert.equal(Math.round((frame.width / frame.height) * 100) / 100, undoSquash ? 3 : 1);
      const { colourAt: at } = await pixelsOf(await toPng(svg));
      const light = Array.from({ length: 15 }, (_, i) => {
        const [row, column] = [Math.floor(i / 5), i % 5];
        const [x, y] = [frame.x + ((column + 0.5) * frame.width) / 5, frame.y + ((row + 0.5) * frame.height) / 3];
        return luminance(at(x, y));
      });
      assert.equal(light.indexOf(Math.max(...light)), 2 * 5 + 1);
    }
  });

  it("says how it was normalised, where the attention went and which patches lead", async () => {
    const masses = [{ name: "image", start: 0, end: 6, mass: 0.5 }, { name: "bos", start: 6, end: 7, mass: 0.5 }] as const; // prettier-ignore
    const data = {
      values: [0.1, 0, 0.2, 0, 0.15, 0.05],
      grid: [2, 3],
      picture: await greyPicture(28),
      title: "q",
    } as const;
    const svg = drawAttentionMap({ ...data, masses });
    const words = [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map((found) => found[1]).join(" ");
    assert.match(words, /Raw values: 0 to 0\.2\. Image 0\.5, bos 0\.5; largest patches 2: 0\.2, 4: 0\.15, 0: 0\.1\./);
    const rest = drawAttentionMap({ ...data, normalisation: "renormalised", exclude: [2] });
    assert.match(
      rest.replace(/<[^>]*>/g, " ").replace(/\s+/g, " "),
      /Renormalised over image: .*left out\) 0\.7\. .*Left out \(crossed\): patches 2\./,
    );
  });

  it("takes a scale from outside, so that two pictures can be compared", async () => {
    const picture = await greyPicture(28);
    const colours = (high?: number) =>
      drawAttentionMap({ values: [0.1, 0.2], grid: [1, 2], picture, title: "q", high, opacity: 1 });
    assert.ok(colours().includes(`fill="${hexOf(colourAt("sequential", 1))}" d="M1 0`));
    assert.ok(colours(0.4).includes(`fill="${hexOf(colourAt("sequential", 0.5))}" d="M1 0`));
  });

  it("refuses what does not fit, and says what would", async () => {
    const picture = await greyPicture(28);
    const draw = (change: object) => () =>
      drawAttentionMap({ values: [1, 2, 3], grid: [1, 3], picture, title: "", ...change });
    const refused = (change: object, message: RegExp) => assert.throws(draw(change), { name: "InputError", message });
    refused({ grid: [2, 3] }, /expected 2 rows x 3 columns = 6 values, got 3/);
    refused({ grid: [0, 3] }, /rows: expected a positive integer, got 0/);
    refused({ values: [1, NaN, 3] }, /expected finite numbers, got NaN at index 1/);
    refused({ exclude: [3] }, /exclude names patch 3; there are 0 to 2/);
    refused({ normalisation: "bright" }, /expected one of raw, renormalised, min-max, log, got bright/);
    refused({ values: [1, -2, 3], normalisation: "log" }, /values below 0 can be drawn "raw" or "min-max", not "log"/);
    refused({ picture: { ...picture, png: Buffer.from("GIF89a") } }, /expected the bytes of a PNG file, got 4749/);
    refused({ picture: { ...picture, originalSize: { width: 0, height: 3 } } }, /originalSize: expected positive/);
  });
});

describe("drawHeadGallery", () => {
  it("draws layers down and heads across, and one scale shows that one map is weak", async () => {
    const values = new Float32Array(2 * 3 * 6);
    values[(1 * 3 + 2) * 6 + 4] = 0.8; // layer 1, head 2, patch 4
    values[(0 * 3 + 1) * 6 + 0] = 0.08;
    const data = { values, layers: [4, 7], heads: [0, 3, 5], grid: [2, 3], title: "heads" } as const;
    const svg = drawHeadGallery(data);
    assert.deepEqual([...svg.matchAll(/>(L\d H\d)</g)].map((found) => found[1]), ["L4 H0", "L4 H3", "L4 H5", "L7 H0", "L7 H3", "L7 H5"]); // prettier-ignore
    assert.ok(svg.includes(`fill="${hexOf(colourAt("sequential", 1))}" d="M1 1`));
    assert.ok(!svg.includes(`fill="${hexOf(colourAt("sequential", 1))}" d="M0 0h1v1H0z"`));
    const each = drawHeadGallery({ ...data, normalisation: "min-max" });
    assert.ok(each.includes(`fill="${hexOf(colourAt("sequential", 1))}" d="M0 0h1v1H0z"`));
  });

  it("breaks the heads of one layer into lines of eight and draws one picture under all", async () => {
    const heads = Array.from({ length: 11 }, (_, i) => i);
    const picture = await greyPicture(28);
    const svg = drawHeadGallery({
      values: new Float32Array(11 * 2),
      layers: [3],
      heads,
      grid: [1, 2],
      title: "",
      picture,
    });
    const tops = new Set([...svg.matchAll(/<use [^>]* y="([\d.]+)"/g)].map((found) => found[1]));
    assert.equal(tops.size, 2);
    assert.equal(svg.match(/data:image\/png/g)!.length, 1);
    assert.ok((await pixelsOf(await toPng(svg))).width > 8 * 72);
  });

  it("refuses values that do not fit layers, heads and grid", () => {
    const data = { values: [1, 2], layers: [0], heads: [0, 1], grid: [1, 2], title: "" } as const;
    const message = /1 layers x 2 heads x 1 rows x 2 columns = 4 values, got 2/;
    assert.throws(() => drawHeadGallery(data), { name: "InputError", message });
    assert.throws(() => drawHeadGallery({ ...data, heads: [] }), {
      name: "InputError",
      message: /name a layer and a head/,
    });
  });
});

describe("drawOverview", () => {
  it("colours layer by layer and numbers both axes", async () => {
    const values = [0, 0, 0.5, 0, 0, 1];
    const svg = drawOverview({ values, layers: 3, heads: 2, title: "t", meaning: "mass on image" });
    assert.ok(svg.includes(`fill="${hexOf(colourAt("sequential", 0.5))}" d="M0 1h1v1H0z"`));
    assert.ok(svg.includes(`fill="${hexOf(colourAt("sequential", 1))}" d="M1 2h1v1H1z"`));
    const words = [...svg.matchAll(/<text[^>]*>([^<]*)</g)].map((found) => found[1]);
    assert.deepEqual(words.slice(1, 8), ["head", "layer", "0", "1", "0", "1", "2"]);
  });

  it("refuses values that are not layers x heads", () => {
    const data = { values: [1, 2, 3], layers: 2, heads: 3, title: "", meaning: "" };
    assert.throws(() => drawOverview(data), { name: "InputError", message: /2 layers x 3 heads = 6 values, got 3/ });
  });
});

describe("drawLogitLens", () => {
  it("puts the likeliest token into a cell of its probability's colour", () => {
    const cells = [[lensCell("▁cat", 0.25), lensCell("\n", 1)]];
    const svg = drawLogitLens({ cells, labels: ["<bos>", "cap"], layers: [17], title: "lens" });
    assert.match(svg, new RegExp(`fill="${hexOf(colourAt("sequential", 0.25))}"[^>]*/><text[^>]*>▁cat<`));
    assert.match(svg, /fill="#fde725"[^>]*\/><text[^>]*fill="#000000"[^>]*>↵</);
    assert.match(svg, />17</);
  });

  it("refuses rows of another length, empty cells and probabilities above 1", () => {
    const refused = (cells: LensReading[][], message: RegExp) =>
      assert.throws(() => drawLogitLens({ cells, labels: ["a", "b"], title: "" }), { name: "InputError", message });
    refused([], /expected a layer and a position, got none/);
    refused([[lensCell("a", 0.5)]], /cells\[0\]: expected 2 positions, got 1/);
    refused([[lensCell("a", 0.5), { ...lensCell("a", 0.5), top: [] }]], /cells\[0\]\[1\]\.top: expected the likeliest/);
    refused([[lensCell("a", 1.5), lensCell("a", 0.5)]], /probabilities in \[0, 1\], got 1\.5/);
    refused([[{ ...lensCell("a", 1), klToFinal: Infinity }, lensCell("a", 1)]], /klToFinal: expected a finite number/);
  });
});

describe("drawMask", () => {
  // Two queries of a cached step see a prompt of four and themselves.
  const open = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1];
  const keySegments = [{ name: "image", start: 0, end: 3 }, { name: "bos", start: 3, end: 4 }, { name: "suffix", start: 4, end: 6 }] as const; // prettier-ignore

  it("draws closed cells dark, more keys than queries, and names the segments", async () => {
    const svg = drawMask({ open, shape: [2, 6], keySegments, title: "mask" });
    const frame = frameOf(svg, /<rect [^>]*fill="none"[^>]*>/);
    assert.equal(frame.width, 3 * frame.height);
    const { colourAt: at } = await pixelsOf(await toPng(svg));
    const light = open.map((_, i) => {
      const [query, key] = [Math.floor(i / 6), i % 6];
      return (
        luminance(at(frame.x + ((key + 0.5) * frame.width) / 6, frame.y + ((query + 0.5) * frame.height) / 2)) > 0.2
      );
    });
    assert.deepEqual(light, open.map(Boolean));
    assert.deepEqual(
      [...svg.matchAll(/>(image|bos|suffix)</g)].map((found) => found[1]),
      ["image", "bos", "suffix"],
    );
  });

  it("refuses cells that do not fit and segments outside", () => {
    const draw = (change: object) => () => drawMask({ open, shape: [2, 6], keySegments, title: "", ...change });
    assert.throws(draw({ shape: [3, 6] }), { name: "InputError", message: /3 queries x 6 keys = 18 values, got 12/ });
    const querySegments = [{ name: "suffix", start: 1, end: 3 }];
    assert.throws(draw({ querySegments }), { name: "InputError", message: /suffix is \[1, 3\).* within \[0, 2\)/ });
  });
});

describe("every drawing", () => {
  it("is well-formed and harmless whatever its texts are", async () => {
    const picture = await greyPicture(28);
    const drawings = [
      drawAttentionMap({ values: [1, 2], grid: [1, 2], picture, title: HOSTILE }),
      drawHeadGallery({ values: [1, 2], layers: [0], heads: [0], grid: [1, 2], title: HOSTILE }),
      drawOverview({ values: [1, 2], layers: 1, heads: 2, title: HOSTILE, meaning: HOSTILE }),
      drawLogitLens({ cells: [[lensCell(HOSTILE, 1)]], labels: [HOSTILE], title: HOSTILE }),
      drawMask({ open: [1, 0], shape: [1, 2], keySegments: [], title: HOSTILE }),
    ];
    for (const svg of drawings) {
      // Strict: libxml refuses a tag that is left open, a bare ampersand and a control.
      await sharp(Buffer.from(svg), { failOn: "warning" }).metadata();
      assert.doesNotMatch(svg, /<script|&(?!amp;|lt;|gt;|quot;|#39;)|[\p{Cc}\p{Cs}\p{Bidi_Control}]/u);
      assert.equal(svg.match(/<title>/g)!.length, 1);
    }
  });

  it("keeps a map of 64 x 64 patches small: neighbours with one colour are one stroke", () => {
    const values = new Float32Array(64 * 64).fill(0.25);
    const svg = drawHeadGallery({ values, layers: [0], heads: [0], grid: [64, 64], title: "" });
    assert.ok(svg.length < 12_000, String(svg.length));
  });
});

describe("toPng", () => {
  const svg = drawMask({ open: [1], shape: [1, 1], keySegments: [], title: "" });
  it("draws at the scale that is asked for", async () => {
    const [one, two] = await Promise.all([toPng(svg), toPng(svg, 2)].map(async (png) => pixelsOf(await png)));
    assert.deepEqual([two.width, two.height], [2 * one.width, 2 * one.height]);
  });
  it("refuses other text, other scales and drawings that are too large", async () => {
    await assert.rejects(toPng("<html>"), { name: "InputError", message: /not an SVG that can be drawn/ });
    await assert.rejects(toPng(svg, 0), { name: "InputError", message: /above 0 and at most 8, got 0/ });
    const large = svg.replace(/width="[\d.]+"/, 'width="20000"');
    await assert.rejects(toPng(large), { name: "InputError", message: /choose a smaller scale/ });
  });
});

describe("describeSinks", () => {
  it("names segments in their order and the three largest patches", () => {
    const masses = [{ name: "image", start: 0, end: 4, mass: 0.75 }, { name: "newline", start: 4, end: 5, mass: 0.25 }] as const; // prettier-ignore
    assert.equal(
      describeSinks([0.1, 0.3, 0.2, 0.15], masses),
      "image 0.75, newline 0.25; largest patches 1: 0.3, 2: 0.2, 3: 0.15",
    );
    assert.equal(describeSinks([0.1]), "largest patches 0: 0.1");
  });
});
