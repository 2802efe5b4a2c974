import { rankOf } from "./attention-rows.js";
import { byId, colourOf, drawLegend, outline, roomIn } from "./canvas.js";
import { createGrid } from "./grid.js";
import { cellsOf, LEFT_OUT, queryLabel, shownMap, whereText } from "./report-model.js";
import { numberText, sentence } from "./text.js";

/** The longest side of a map on the page. */
const MAP_SIDE = 520;

/**
 * The chosen map over its picture: hover says patch, value and rank, a click or drag chooses patches.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 * @param {Uint8Array} colours
 * @param {readonly CanvasImageSource[]} images
 */
export function createMapView(model, store, colours, images) {
  const canvas = byId("map-canvas", HTMLCanvasElement);
  const columns = model.data.grid[1];
  const say = (/** @type {import("./grid.js").Cell | null} */ cell) => {
    byId("map-readout", HTMLElement).textContent = cell
      ? patchWords(model, store.get(), cell.row * columns + cell.column)
      : boxWords(model, store.get());
  };
  const choose = (/** @type {import("./grid.js").Cell} */ to, /** @type {import("./grid.js").Cell} */ from) => {
    const [top, bottom] = [from.row, to.row].sort((a, b) => a - b);
    const [left, right] = [from.column, to.column].sort((a, b) => a - b);
    store.set({ box: { top, left, bottom, right } });
  };
  const grid = createGrid(canvas, { move: say, choose });
  connectControls(model, store);
  return () => {
    const state = store.get();
    const map = shownMap(model, state);
    const room = Math.min(roomIn(canvas.parentElement ?? canvas), MAP_SIDE);
    grid.show(mapPicture(model, state, map, colours, images[state.picture], room));
    drawLegend(byId("map-legend", HTMLCanvasElement), colours, map.scale, room);
    byId("map-words", HTMLElement).textContent = mapWords(state, map);
    say(null);
    showControls(model, state);
  };
}

/**
 * What the map shows and how, in words.
 * @param {import("./report-model.js").State} state
 * @param {{ words: string, mass: number }} map
 */
export function mapWords(state, { words, mass }) {
  const left = state.leaveOut ? ` The ${LEFT_OUT} largest patches of each map are left out (crossed).` : "";
  const drawn = state.undoSquash ? "in the proportions before the squash" : "on the square that the model saw";
  return `${sentence(whereText(state))}; ${words}. The picture has ${numberText(mass)} of this query's attention.${left} Drawn ${drawn}.`;
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 * @param {number} patch
 */
function patchWords(model, state, patch) {
  const { values, shown } = shownMap(model, state);
  const columns = model.data.grid[1];
  const place = `Patch ${patch} (row ${Math.floor(patch / columns)}, column ${patch % columns})`;
  const value = numberText(values[patch]);
  const drawn = state.normalisation === "renormalised" ? `, renormalised ${numberText(shown[patch])}` : "";
  const left = Number.isNaN(shown[patch]) ? ", left out" : "";
  return `${place}: ${value}${drawn}, rank ${rankOf(values, patch)} of ${values.length}${left}`;
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 */
function boxWords(model, state) {
  if (!state.box) return "Hover a patch for its value; click one, or drag over several, to see who attends to it.";
  const cells = cellsOf(state.box, model.data.grid[1]);
  if (cells.length === 1) return `Chosen: ${patchWords(model, state, cells[0])}`;
  const { values } = shownMap(model, state);
  return `Chosen: ${cells.length} patches with ${numberText(cells.reduce((sum, cell) => sum + values[cell], 0))} together`;
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 * @param {{ shown: Float64Array, scale: import("./scale.js").Scale }} map
 * @param {Uint8Array} colours
 * @param {CanvasImageSource} image
 * @param {number} room
 * @returns {import("./grid.js").GridPicture}
 */
export function mapPicture(model, state, { shown, scale }, colours, image, room) {
  const [rows, columns] = model.data.grid;
  const { seenSize, originalSize } = model.data.pictures[state.picture];
  const size = state.undoSquash ? originalSize : seenSize;
  const fit = room / Math.max(size.width, size.height);
  const frame = { x: 0, y: 0, width: Math.max(size.width * fit, 1), height: Math.max(size.height * fit, 1) };
  const [width, height] = [frame.width / columns, frame.height / rows];
  const paint = (/** @type {CanvasRenderingContext2D} */ context) => {
    context.drawImage(image, 0, 0, frame.width, frame.height);
    shown.forEach((value, patch) => {
      const [x, y] = [(patch % columns) * width, Math.floor(patch / columns) * height];
      if (Number.isNaN(value)) return cross(context, x, y, width, height);
      // Cells meet on whole pixels: two half-covered edges would show as a seam.
      const [left, top] = [Math.round(x), Math.round(y)];
      context.globalAlpha = state.opacity;
      context.fillStyle = colourOf(colours, value, scale).fill;
      context.fillRect(left, top, Math.round(x + width) - left, Math.round(y + height) - top);
      context.globalAlpha = 1;
    });
    paintChoices(context, model, state, width, height);
  };
  return { width: frame.width, height: frame.height, frame, rows, columns, paint };
}

/**
 * Lines around the chosen patches, and around the query where it is a patch.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 * @param {number} width
 * @param {number} height
 */
function paintChoices(context, model, { box, query, picture }, width, height) {
  const around = (/** @type {import("./report-model.js").Box} */ { top, left, bottom, right }) =>
    /** @type {const} */ ([left * width, top * height, (right - left + 1) * width, (bottom - top + 1) * height]);
  if (box) {
    outline(context, around(box), "#000", 4);
    outline(context, around(box), "#fff", 2);
  }
  const { patch } = queryLabel(model, query);
  if (patch?.picture !== picture) return;
  const columns = model.data.grid[1];
  const [row, column] = [Math.floor(patch.patch / columns), patch.patch % columns];
  const own = around({ top: row, bottom: row, left: column, right: column });
  outline(context, own, "#fff", 4);
  outline(context, own, "#d0006f", 2);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} y
 * @param {number} width
 * @param {number} height
 */
function cross(context, x, y, width, height) {
  for (const [colour, line] of /** @type {[string, number][]} */ ([
    ["#fff", 2.5],
    ["#000", 1],
  ])) {
    // prettier-ignore
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x + width, y + height);
    context.moveTo(x + width, y);
    context.lineTo(x, y + height);
    context.stroke();
  }
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 */
function connectControls(model, store) {
  const normalisation = byId("normalisation", HTMLSelectElement);
  normalisation.addEventListener("change", () => {
    store.set({ normalisation: /** @type {import("./scale.js").Normalisation} */ (normalisation.value) });
  });
  const opacity = byId("opacity", HTMLInputElement);
  opacity.addEventListener("input", () => store.set({ opacity: Number(opacity.value) / 100 }));
  const undo = byId("undo-squash", HTMLInputElement);
  undo.addEventListener("change", () => store.set({ undoSquash: undo.checked }));
  const leave = byId("leave-out", HTMLInputElement);
  leave.addEventListener("change", () => store.set({ leaveOut: leave.checked }));
  const picture = byId("picture", HTMLSelectElement);
  model.data.pictures.forEach((_, i) => picture.append(new Option(`picture ${i}`, String(i))));
  picture.addEventListener("change", () => store.set({ picture: Number(picture.value), box: null }));
  const take = byId("take-patch", HTMLButtonElement);
  take.addEventListener("click", () => {
    const query = queryOfPatch(model, store.get());
    if (query >= 0) store.set({ query });
  });
}

/**
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 */
function showControls(model, state) {
  byId("normalisation", HTMLSelectElement).value = state.normalisation;
  byId("opacity", HTMLInputElement).value = String(Math.round(state.opacity * 100));
  byId("undo-squash", HTMLInputElement).checked = state.undoSquash;
  byId("leave-out", HTMLInputElement).checked = state.leaveOut;
  byId("picture", HTMLSelectElement).value = String(state.picture);
  byId("take-patch", HTMLButtonElement).disabled = queryOfPatch(model, state) < 0;
}

/**
 * The query of the chosen patch, where one is chosen and the report has its row; else -1.
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 */
function queryOfPatch(model, { box, picture }) {
  const cells = box ? cellsOf(box, model.data.grid[1]) : [];
  if (cells.length !== 1) return -1;
  return model.rows.queries.indexOf(model.imagePositions[picture * model.patches + cells[0]]);
}
