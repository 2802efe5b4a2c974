import { byId, colourOf, drawLegend, elementWith, outline, roomIn, theme, write } from "./canvas.js";
import { drawChart } from "./charts.js";
import { createGrid } from "./grid.js";
import { numberText, shortText, visibleText } from "./text.js";

const LENS_AXIS = { left: 40, top: 24 };
const LENS_CELL = { width: 92, height: 22 };

/** @type {import("./scale.js").Scale} */
const PROBABILITY = { low: 0, high: 1, kind: "linear", colours: "sequential" };

/**
 * The logit lens: layers down, positions across, the likeliest token in a cell; the five likeliest and the lines of
 * entropy, rank and divergence of the cell that is pointed at or chosen.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 * @param {Uint8Array} colours
 */
export function createLensView({ data }, store, colours) {
  const lens = data.logitLens;
  if (!lens) return () => {};
  const canvas = byId("lens-canvas", HTMLCanvasElement);
  const last = { layer: lens.layers.length - 1, position: lens.positions.length - 1 };
  const detail = (/** @type {{ layer: number, position: number }} */ at) => {
    showCandidates(data, lens, at);
    showCharts(lens, at);
  };
  const chosen = () => store.get().lens ?? last;
  const grid = createGrid(canvas, {
    move: (cell) => detail(cell ? { layer: cell.row, position: cell.column } : chosen()),
    choose: ({ row, column }) => store.set({ lens: { layer: row, position: column } }),
  });
  return () => {
    grid.show(lensPicture(data, lens, chosen(), colours));
    drawLegend(byId("lens-legend", HTMLCanvasElement), colours, PROBABILITY, 220);
    detail(chosen());
  };
}

/** @typedef {import("../report-data.js").ReportLens} Lens */

/**
 * @param {import("../page-data.js").PageData} data
 * @param {Lens} lens
 * @param {{ layer: number, position: number }} chosen
 * @param {Uint8Array} colours
 * @returns {import("./grid.js").GridPicture}
 */
function lensPicture(data, { layers, positions, cells }, chosen, colours) {
  const [rows, columns] = [layers.length, positions.length];
  const { width, height } = LENS_CELL;
  const frame = { x: LENS_AXIS.left, y: LENS_AXIS.top, width: columns * width, height: rows * height };
  const paint = (/** @type {CanvasRenderingContext2D} */ context) => {
    positions.forEach((position, i) => {
      const text = shortText(data.tokens[position].text, 12);
      write(context, text, frame.x + (i + 0.5) * width, 15, { align: "center", fill: theme().ink });
    });
    cells.forEach((row, layer) => {
      const y = frame.y + layer * height;
      write(context, String(layers[layer]), frame.x - 8, y + 15, { align: "right" });
      row.forEach(({ top: [first] }, i) => {
        const { fill, ink } = colourOf(colours, first.probability, PROBABILITY);
        context.fillStyle = fill;
        context.fillRect(frame.x + i * width, y, width - 1, height - 1);
        const at = frame.x + (i + 0.5) * width;
        write(context, shortText(first.text, 12), at, y + 15, { align: "center", fill: ink, size: 12 });
      });
    });
    const { ink, paper } = theme();
    const rectangle = /** @type {const} */ ([frame.x + chosen.position * width, frame.y + chosen.layer * height, width - 1, height - 1]); // prettier-ignore
    outline(context, rectangle, paper, 4);
    outline(context, rectangle, ink, 2);
  };
  const size = { width: frame.x + frame.width + 4, height: frame.y + frame.height + 4 };
  return { ...size, frame, rows, columns, paint };
}

/**
 * @param {import("../page-data.js").PageData} data
 * @param {Lens} lens
 * @param {{ layer: number, position: number }} at
 */
function showCandidates(data, { layers, positions, cells }, { layer, position }) {
  const cell = cells[layer][position];
  const token = visibleText(data.tokens[positions[position]].text);
  byId("lens-title", HTMLElement).textContent =
    `After layer ${layers[layer]}, at “${token}” (position ${positions[position]})`;
  byId("lens-candidates", HTMLElement).replaceChildren(
    ...cell.top.slice(0, 5).map(({ text, probability, id }) => {
      const item = document.createElement("li");
      item.append(elementWith("code", visibleText(text)), elementWith("span", numberText(probability)));
      item.title = `id ${id}`;
      return item;
    }),
  );
  byId("lens-numbers", HTMLElement).textContent =
    `entropy ${numberText(cell.entropy)} nats; the final token has rank ${cell.finalRank}; KL to the final distribution ${numberText(cell.klToFinal)} nats`;
}

/**
 * @param {Lens} lens
 * @param {{ layer: number, position: number }} at
 */
function showCharts({ layers, cells }, { layer, position }) {
  for (const name of /** @type {const} */ (["entropy", "finalRank", "klToFinal"])) {
    const canvas = byId(`lens-${name}`, HTMLCanvasElement);
    const values = cells.map((row) => row[position][name]);
    const line = { values, labels: layers, chosen: layer, logarithmic: name === "finalRank" };
    drawChart(canvas, line, roomIn(canvas.parentElement ?? canvas));
  }
}
