import { byId, colourOf, drawLegend, outline, roomIn, theme, write } from "./canvas.js";
import { createGrid } from "./grid.js";
import { massGrid, whereText } from "./report-model.js";
import { numberText } from "./text.js";

const AXIS = { left: 44, top: 36 };

/**
 * Layers down, heads across, the mass from the query to the chosen segment in a cell; the last row and column are
 * means.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 * @param {Uint8Array} colours
 */
export function createOverviewView(model, store, colours) {
  const { rows } = model;
  const canvas = byId("overview-canvas", HTMLCanvasElement);
  const readout = byId("overview-readout", HTMLElement);
  const segment = byId("segment", HTMLSelectElement);
  for (const name of model.segmentNames) segment.append(new Option(name, name));
  segment.addEventListener("change", () => store.set({ segment: segment.value }));
  const whereOf = (/** @type {import("./grid.js").Cell} */ { row, column }) => ({
    layer: row === rows.layers ? null : row,
    head: column === rows.heads ? null : column,
  });
  const say = (/** @type {import("./grid.js").Cell | null} */ cell) => {
    const { query, layer, head } = store.get();
    const where = cell ? whereOf(cell) : { layer, head };
    const at = { row: where.layer ?? rows.layers, column: where.head ?? rows.heads };
    const mass = overviewValues(model, store.get().segment, query).values[at.row * (rows.heads + 1) + at.column];
    readout.textContent = `${cell ? "" : "Chosen: "}${whereText(where)}: mass ${numberText(mass)} on ${store.get().segment}`;
  };
  const grid = createGrid(canvas, { move: say, choose: (cell) => store.set(whereOf(cell)) });
  return () => {
    const state = store.get();
    segment.value = state.segment;
    const { values, scale } = overviewValues(model, state.segment, state.query);
    const room = roomIn(canvas.parentElement ?? canvas);
    grid.show(overviewPicture(model, state, values, scale, colours, room));
    drawLegend(byId("overview-legend", HTMLCanvasElement), colours, scale, Math.max(room - AXIS.left, 80));
    const words = `Raw mass on ${state.segment}, one scale for every query: 0 to ${numberText(scale.high)}. The outer row and column are means.`;
    byId("overview-words", HTMLElement).textContent = words;
    say(null);
  };
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {string} segment
 * @param {number} query
 */
function overviewValues(model, segment, query) {
  const { values, high } = massGrid(model, segment);
  const size = (model.rows.layers + 1) * (model.rows.heads + 1);
  /** @type {import("./scale.js").Scale} */
  const scale = { low: 0, high, kind: "linear", colours: "sequential" };
  return { values: values.subarray(query * size, (query + 1) * size), scale };
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 * @param {Float64Array} values
 * @param {import("./scale.js").Scale} scale
 * @param {Uint8Array} colours
 * @param {number} room
 * @returns {import("./grid.js").GridPicture}
 */
function overviewPicture({ rows: { layers, heads } }, state, values, scale, colours, room) {
  const [rows, columns] = [layers + 1, heads + 1];
  const cellHeight = Math.min(Math.max(Math.floor(520 / rows), 14), 28);
  const frame = { x: AXIS.left, y: AXIS.top, width: room - AXIS.left - 2, height: rows * cellHeight };
  const cellWidth = frame.width / columns;
  const paint = (/** @type {CanvasRenderingContext2D} */ context) => {
    const { paper, ink } = theme();
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        context.fillStyle = colourOf(colours, values[row * columns + column], scale).fill;
        const gap = [column === heads ? 3 : 0, row === layers ? 3 : 0];
        const [x, y] = [frame.x + column * cellWidth + gap[0], frame.y + row * cellHeight + gap[1]];
        context.fillRect(x, y, cellWidth - gap[0] - 1, cellHeight - gap[1] - 1);
      }
    }
    overviewAxes(context, frame, layers, heads);
    const [row, column] = [state.layer ?? layers, state.head ?? heads];
    const chosen = /** @type {const} */ ([
      frame.x + column * cellWidth,
      frame.y + row * cellHeight,
      cellWidth,
      cellHeight,
    ]);
    outline(context, chosen, paper, 5);
    outline(context, chosen, ink, 2.5);
  };
  return { width: room, height: frame.y + frame.height + 4, frame, rows, columns, paint };
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {import("./canvas.js").Frame} frame
 * @param {number} layers
 * @param {number} heads
 */
function overviewAxes(context, frame, layers, heads) {
  const cell = { width: frame.width / (heads + 1), height: frame.height / (layers + 1) };
  const every = Math.ceil(20 / cell.width);
  for (let head = 0; head <= heads; head++) {
    const text = head === heads ? "mean" : String(head);
    if (head % every !== 0 && head !== heads) continue;
    write(context, text, frame.x + (head + 0.5) * cell.width, frame.y - 6, { align: "center" });
  }
  for (let layer = 0; layer <= layers; layer++) {
    const text = layer === layers ? "mean" : String(layer);
    write(context, text, frame.x - 6, frame.y + (layer + 0.5) * cell.height + 3.5, { align: "right" });
  }
  write(context, "head →", frame.x, 13, { fill: theme().ink });
  write(context, "layer ↓", 0, frame.y - 6, { fill: theme().ink });
}
