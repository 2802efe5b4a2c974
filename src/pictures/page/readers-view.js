import { byId, colourOf, roomIn, theme, write } from "./canvas.js";
import { createGrid } from "./grid.js";
import { queryLabel, readersOf, whereText } from "./report-model.js";
import { numberText, shortText } from "./text.js";

const LINE = 22;
const LABEL = 150;

/**
 * Who attends to the chosen patches: a bar for every query of the text, and one for the mean of the image's own
 * queries.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 * @param {Uint8Array} colours
 */
export function createReadersView(model, store, colours) {
  const canvas = byId("readers-canvas", HTMLCanvasElement);
  const words = byId("readers-words", HTMLElement);
  const labels = model.rows.queries.map((_, query) => queryLabel(model, query));
  const text = labels.flatMap(({ patch }, query) => (patch ? [] : [query]));
  const image = labels.flatMap(({ patch }, query) => (patch ? [query] : []));
  const grid = createGrid(canvas, {
    move: () => {},
    choose: ({ row }) => (row < text.length ? store.set({ query: text[row] }) : undefined),
  });
  return () => {
    const state = store.get();
    canvas.hidden = state.box === null;
    words.textContent = state.box
      ? `Raw attention of each query to the chosen patches, ${whereText(state)}. Click a line to take its query.`
      : "Choose a patch on the picture, or drag over several.";
    if (!state.box) return;
    const values = readersOf(model, state, state.box);
    const lines = text.map((query) => ({
      label: `${shortText(labels[query].text, 14)} ${labels[query].position}`,
      value: values[query],
      chosen: query === state.query,
    }));
    if (image.length > 0) {
      const mean = image.reduce((sum, query) => sum + values[query], 0) / image.length;
      lines.push({ label: `patches, mean of ${image.length}`, value: mean, chosen: false });
    }
    grid.show(readersPicture(lines, colours, roomIn(canvas.parentElement ?? canvas)));
  };
}

/**
 * @param {{ label: string, value: number, chosen: boolean }[]} lines
 * @param {Uint8Array} colours
 * @param {number} width
 * @returns {import("./grid.js").GridPicture}
 */
function readersPicture(lines, colours, width) {
  const frame = { x: 0, y: 0, width, height: lines.length * LINE };
  const high = lines.reduce((most, { value }) => Math.max(most, value), 0);
  /** @type {import("./scale.js").Scale} */
  const scale = { low: 0, high, kind: "linear", colours: "sequential" };
  const room = width - LABEL - 72;
  const paint = (/** @type {CanvasRenderingContext2D} */ context) => {
    const { ink, faint, line } = theme();
    lines.forEach(({ label, value, chosen }, i) => {
      const y = i * LINE;
      const style = { fill: chosen ? ink : faint, weight: chosen ? 700 : 400, size: 12 };
      write(context, label, LABEL - 8, y + 15, { ...style, align: "right" });
      context.fillStyle = line;
      context.fillRect(LABEL, y + 4, room, LINE - 8);
      context.fillStyle = colourOf(colours, value, scale).fill;
      context.fillRect(LABEL, y + 4, high > 0 ? (room * value) / high : 0, LINE - 8);
      write(context, numberText(value), LABEL + room + 8, y + 15, style);
    });
  };
  return { width, height: frame.height, frame, rows: lines.length, columns: 1, paint };
}
