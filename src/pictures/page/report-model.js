import { attentionRow, largest, leaveOut } from "./attention-rows.js";
import { normalisationWords, normalise } from "./scale.js";
import { visibleText } from "./text.js";

/**
 * What the reader has chosen. `query` counts the report's queries; layer or head null is the mean over all; `box` holds
 * the first and last row and column of some patches.
 * @typedef {{ query: number, layer: number | null, head: number | null, segment: string, picture: number, box: Box |
 * null, normalisation: import("./scale.js").Normalisation, opacity: number, undoSquash: boolean, leaveOut: boolean,
 * lens: { layer: number, position: number } | null, }} State
 */

/** @typedef {{ top: number, left: number, bottom: number, right: number }} Box both ends belong to it */

/**
 * A report with its numbers decoded, and what was computed of it so far.
 * @typedef {{
 *   data: import("../page-data.js").PageData, rows: import("./attention-rows.js").AttentionRows, patches: number,
 *   imagePositions: number[], segmentNames: string[], memory: Map<string, unknown>,
 * }} Model
 */

/** Patches that "leave out" leaves out of each map. */
export const LEFT_OUT = 3;

/**
 * @param {import("../page-data.js").PageData} data
 * @returns {Model}
 */
export function createModel(data) {
  const { attention, segments, grid } = data;
  const imagePositions = segments
    .filter(({ name }) => name === "image")
    .flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i));
  const segmentNames = [...new Set(segments.map(({ name }) => name))];
  const rows = { ...attention, values: float32Of(attention.values) };
  return { data, rows, patches: grid[0] * grid[1], imagePositions, segmentNames, memory: new Map() };
}

/**
 * The float32 numbers, little-endian, of base64.
 * @param {string} base64
 */
export function float32Of(base64) {
  const bytes = bytesOf(base64);
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

/** @param {string} base64 */
export function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/**
 * The state that a report opens with: the query that chose the first token, on average over layers and heads.
 * @param {Model} model
 * @returns {State}
 */
export function initialState({ data, rows }) {
  const chose = data.steps.map(({ position }) => rows.queries.indexOf(position - 1)).find((query) => query >= 0);
  return {
    query: chose ?? rows.queries.length - 1,
    layer: null,
    head: null,
    segment: "image",
    picture: 0,
    box: null,
    normalisation: "raw",
    opacity: 0.65,
    undoSquash: false,
    leaveOut: false,
    lens: null,
  };
}

/**
 * The patches of one picture in a row [keys].
 * @param {Model} model
 * @param {ArrayLike<number>} row
 * @param {number} picture
 */
export function patchesOf({ imagePositions, patches }, row, picture) {
  const positions = imagePositions.slice(picture * patches, (picture + 1) * patches);
  return Float64Array.from(positions, (position) => row[position] ?? 0);
}

/**
 * The maps of the same kind as the shown one: of every layer and head, of the mean over heads of every layer, and so
 * on.
 * @param {Model} model
 * @param {State} state
 * @returns {{ values: Float64Array, shown: Float64Array, scale: import("./scale.js").Scale, words: string, mass: number
 * }}
 */
export function shownMap(model, state) {
  const { query, layer, head, picture, normalisation } = state;
  const key = JSON.stringify(["maps", query, layer === null, head === null, picture, normalisation, state.leaveOut]);
  const all = remembered(model, key, () => scaledMaps(model, state));
  const index = (layer ?? 0) * (head === null ? 1 : model.rows.heads) + (head ?? 0);
  const dropped = all.totals[index] - all.sums[index];
  const count = normalisation === "min-max" ? 1 : all.maps.length;
  return {
    values: all.raw[index],
    shown: all.maps[index],
    scale: all.scales[index],
    words: normalisationWords(normalisation, all.scales[index], count, [dropped]),
    mass: all.raw[index].reduce((sum, value) => sum + value, 0),
  };
}

/**
 * @param {Model} model
 * @param {State} state
 */
function scaledMaps(model, { query, layer, head, picture, normalisation, leaveOut: leave }) {
  const { rows } = model;
  const layers = layer === null ? [null] : Array.from({ length: rows.layers }, (_, i) => i);
  const heads = head === null ? [null] : Array.from({ length: rows.heads }, (_, i) => i);
  const all = layers.flatMap((l) => heads.map((h) => attentionRow(rows, query, l, h)));
  const raw = all.map((row) => patchesOf(model, row, picture));
  const kept = raw.map((values) => (leave ? leaveOut(values, largest(values, LEFT_OUT)) : values));
  const total = (/** @type {Float64Array} */ values) => values.reduce((sum, value) => sum + (value || 0), 0);
  return { ...normalise(kept, normalisation), raw, totals: all.map(total), sums: kept.map(total) };
}

/**
 * The mass on the segments of a name: for each query, layers + 1 rows of heads + 1 cells. The last row and column are
 * means.
 * @param {Model} model
 * @param {string} segment
 * @returns {{ values: Float64Array, high: number }}
 */
export function massGrid(model, segment) {
  return remembered(model, `mass ${segment}`, () => {
    const { rows, data } = model;
    const ranges = data.segments.filter(({ name }) => name === segment);
    const width = rows.heads + 1;
    const size = (rows.layers + 1) * width;
    const values = new Float64Array(rows.queries.length * size);
    rows.queries.forEach((_, query) => {
      for (let layer = 0; layer < rows.layers; layer++) {
        for (let head = 0; head < rows.heads; head++) {
          const mass = massIn(rows, query, layer, head, ranges);
          const at = query * size + layer * width;
          values[at + head] = mass;
          values[at + rows.heads] += mass / rows.heads;
          values[query * size + rows.layers * width + head] += mass / rows.layers;
          values[query * size + size - 1] += mass / (rows.layers * rows.heads);
        }
      }
    });
    return { values, high: values.reduce((most, value) => Math.max(most, value), 0) };
  });
}

/**
 * @param {import("./attention-rows.js").AttentionRows} rows
 * @param {number} query
 * @param {number} layer
 * @param {number} head
 * @param {readonly { start: number, end: number }[]} ranges
 */
function massIn({ layers, heads, keys, values }, query, layer, head, ranges) {
  const row = ((query * layers + layer) * heads + head) * keys;
  let mass = 0;
  for (const { start, end } of ranges) {
    for (let key = start; key < Math.min(end, keys); key++) mass += values[row + key];
  }
  return mass;
}

/**
 * How much each query attends to some patches, in the chosen layer and head: one number for each query.
 * @param {Model} model
 * @param {State} state
 * @param {Box} box
 */
export function readersOf(model, { layer, head, picture }, box) {
  const key = JSON.stringify(["readers", layer, head, picture, box]);
  return remembered(model, key, () =>
    model.rows.queries.map((_, query) => {
      const values = patchesOf(model, attentionRow(model.rows, query, layer, head), picture);
      return cellsOf(box, model.data.grid[1]).reduce((sum, cell) => sum + values[cell], 0);
    }),
  );
}

/**
 * The cells of a box, counted row by row.
 * @param {Box} box
 * @param {number} columns
 */
export function cellsOf({ top, left, bottom, right }, columns) {
  const cells = [];
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) cells.push(row * columns + column);
  }
  return cells;
}

/**
 * A query in words: its token, its position, and the generated token that it chose, if any.
 * @param {Model} model
 * @param {number} query
 */
export function queryLabel({ data, rows, imagePositions, patches }, query) {
  const position = rows.queries[query];
  const place = imagePositions.indexOf(position);
  const patch = place < 0 ? null : { picture: Math.floor(place / patches), patch: place % patches };
  const step = data.steps.find((one) => one.position === position + 1) ?? null;
  const text = patch ? `patch ${patch.patch}` : visibleText(data.tokens[position].text);
  return { position, patch, step, text };
}

/**
 * The chosen layer and head in words.
 * @param {Pick<State, "layer" | "head">} state
 */
export function whereText({ layer, head }) {
  if (layer === null && head === null) return "mean over all layers and heads";
  if (layer === null) return `head ${head}, mean over layers`;
  return head === null ? `layer ${layer}, mean over heads` : `layer ${layer}, head ${head}`;
}

/**
 * The name of the hook that the shown rows come from.
 * @param {Pick<State, "layer">} state
 */
export function hookName({ layer }) {
  return `language.blocks.${layer ?? "*"}.attn.hook_pattern`;
}

/**
 * The edit that closes the shown way in the pass that computed it: from the chosen patches, or else the chosen segment,
 * to the query. `edits` and `--edits` read it. Null where the query sees none of these keys.
 * @param {Model} model
 * @param {State} state
 */
export function knockOutOf(model, state) {
  const { layer, head } = state;
  const position = model.rows.queries[state.query];
  const keys = keysOf(model, state, position);
  if (keys.length === 0) return null;
  // The prompt is read in the first pass, then one token in each.
  const promptLength = Math.min(...model.data.steps.map((step) => step.position), model.data.tokens.length);
  return {
    hook: `language.blocks.${layer ?? "*"}.attn.hook_attn_scores`,
    op: "close",
    positions: [position],
    keys,
    ...(head === null ? {} : { heads: [head] }),
    steps: [Math.max(position - promptLength + 1, 0)],
  };
}

/**
 * Positions of the chosen patches, or ranges of the chosen segment as far as the query sees it.
 * @param {Model} model
 * @param {State} state
 * @param {number} position
 */
function keysOf({ data, rows, imagePositions, patches }, { box, picture, segment, query }, position) {
  if (box) return cellsOf(box, data.grid[1]).map((patch) => imagePositions[picture * patches + patch]);
  const seen = lastSeen(rows, query, position) + 1;
  return data.segments
    .filter(({ name, start }) => name === segment && start < seen)
    .map(({ start, end }) => `${start}:${Math.min(end, seen)}`);
}

/**
 * The last key that a query gives any attention to, or its own position.
 * @param {import("./attention-rows.js").AttentionRows} rows
 * @param {number} query
 * @param {number} position
 */
function lastSeen(rows, query, position) {
  return Math.max(
    attentionRow(rows, query, null, null).findLastIndex((value) => value > 0),
    position,
  );
}

/**
 * @template T
 * @param {Model} model
 * @param {string} key
 * @param {() => T} compute
 * @returns {T}
 */
function remembered({ memory }, key, compute) {
  if (!memory.has(key)) {
    // A reader goes back and forth between a few maps; what lies longer ago is computed again.
    if (memory.size >= 16) memory.delete(memory.keys().next().value ?? "");
    memory.set(key, compute());
  }
  return /** @type {T} */ (memory.get(key));
}
