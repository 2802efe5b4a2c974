import sharp from "sharp";

import type { LensReading } from "../../../src/pictures/logit-lens-grid.js";
import type { ReportData } from "../../../src/pictures/report.js";

/** Sizes of a made-up run. */
export type SyntheticSizes = {
  grid: readonly [rows: number, columns: number];
  layers: number;
  heads: number;
  /** The question and the answer in tokens; texts may be hostile. */
  prompt: readonly string[];
  answer: readonly string[];
  side: number;
};

const SIZES: SyntheticSizes = {
  grid: [3, 5],
  layers: 4,
  heads: 2,
  prompt: ["answer", "▁en", "▁what", "▁animal"],
  answer: ["▁a", "▁cat"],
  side: 56,
};

/** Numbers from 0 to 1 that are the same in every run. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}

/**
 * A run that no model made: every query of the text and the first picture row, weights that sum to 1, a lens and an
 * edit. In layer 1 and head 1 the query that chose the first token looks at the last patch, with more than half of its
 * weight.
 */
export async function syntheticReport(changes: Partial<SyntheticSizes> = {}): Promise<ReportData> {
  const { grid, layers, heads, prompt, answer, side } = { ...SIZES, ...changes };
  const patches = grid[0] * grid[1];
  const texts = [...Array<string>(patches).fill("<image>"), "<bos>", ...prompt, "\n", ...answer];
  const promptLength = patches + prompt.length + 2;
  const segments: ReportData["segments"] = [
    { name: "image", start: 0, end: patches },
    { name: "bos", start: patches, end: patches + 1 },
    { name: "prefix", start: patches + 1, end: promptLength - 1 },
    { name: "newline", start: promptLength - 1, end: promptLength },
    { name: "suffix", start: promptLength, end: texts.length },
  ];
  const keys = texts.length - 1;
  const queries = [0, ...Array.from({ length: keys - patches }, (_, i) => patches + i)];
  const steps = answer.map((text, i) => ({
    id: 100 + i,
    text,
    probability: 0.9 / (i + 1),
    position: promptLength + i,
  }));
  return {
    model: "made-up/tiny",
    backend: "none",
    dtype: "float32",
    settings: { resize: "pillow-bicubic", positionOffset: 1 },
    prompt: prompt.join("").replaceAll("▁", " "),
    answer: answer.join("").replaceAll("▁", " ").trim(),
    tokens: texts.map((text, position) => ({
      id: position < promptLength ? position : 100 + position - promptLength,
      text,
    })),
    segments,
    grid,
    pictures: [{ png: await gradient(side), originalSize: { width: 3 * side, height: 2 * side } }],
    steps,
    attention: { queries, layers, heads, keys, values: weights(queries, layers, heads, keys, grid, promptLength) },
    logitLens: lens(layers, [...queries.slice(-3)], [...answer, "\n", "▁dog"]),
    edits: [
      {
        description: "The picture is closed to the last query, layers 1 and 2",
        edits: [{ hook: "language.blocks.{1,2}.attn.hook_attn_scores", op: "close", positions: "last", keys: "image" }],
        before: "a cat",
        after: "a dog",
        deltaLogProbability: -2.31,
      },
    ],
  };
}

function weights(
  queries: readonly number[],
  layers: number,
  heads: number,
  keys: number,
  [rows, columns]: readonly [number, number],
  promptLength: number,
): Float32Array {
  const random = randomNumbers(7);
  const patches = rows * columns;
  const values = new Float32Array(queries.length * layers * heads * keys);
  queries.forEach((query, q) => {
    for (let cell = 0; cell < layers * heads; cell++) {
      const [y, x, sink] = [random() * rows, random() * columns, random()];
      const open = query < promptLength ? promptLength : query + 1;
      const row = Array.from({ length: keys }, (_, key) => {
        if (key >= open) return 0;
        if (key >= patches) return (key === patches ? 2 * sink : 0.1) * random();
        const far = (Math.floor(key / columns) - y) ** 2 + ((key % columns) - x) ** 2;
        return (0.3 * Math.exp(-far / (0.02 * patches + 1)) + 0.01 * random()) * (16 / patches);
      });
      if (query === promptLength - 1 && cell === heads + 1)
        row[patches - 1] = row.reduce((sum, value) => sum + value, 0);
      const total = row.reduce((sum, value) => sum + value, 0);
      values.set(row.map((value) => value / total), (q * layers * heads + cell) * keys); // prettier-ignore
    }
  });
  return values;
}

function lens(layers: number, positions: readonly number[], words: readonly string[]): ReportData["logitLens"] {
  const random = randomNumbers(11);
  const cell = (layer: number): LensReading => {
    const first = Math.min(0.98, 0.05 + random() * ((layer + 1) / layers));
    const top = Array.from({ length: 5 }, (_, i) => ({
      id: i,
      text: words[(i + Math.floor(random() * words.length)) % words.length],
      probability: first * 0.4 ** i,
    }));
    const left = layers - 1 - layer;
    return {
      top,
      entropy: 0.3 + left * 0.6 * random(),
      finalRank: 1 + Math.floor(left * left * 40 * random()),
      klToFinal: left * random(),
    };
  };
  const cells = Array.from({ length: layers }, (_, layer) => positions.map(() => cell(layer)));
  return { layers: Array.from({ length: layers }, (_, i) => i), positions, cells };
}

/** Colours that run from corner to corner, and a disc. */
async function gradient(side: number): Promise<Uint8Array> {
  const data = new Uint8Array(side * side * 3);
  for (let i = 0; i < side * side; i++) {
    const [y, x] = [Math.floor(i / side) / side, (i % side) / side];
    const disc = (x - 0.62) ** 2 + (y - 0.4) ** 2 < 0.05;
    data.set(disc ? [235, 200, 70] : [60 + 90 * x, 110 + 60 * y, 170 - 60 * x], 3 * i);
  }
  return sharp(data, { raw: { width: side, height: side, channels: 3 } })
    .png()
    .toBuffer();
}
