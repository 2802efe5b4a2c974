import { byId, drawLegend, fresh, theme, write } from "./canvas.js";
import { mapPicture, mapWords } from "./map-view.js";
import { queryWords } from "./queries-view.js";
import { hookName, knockOutOf, shownMap } from "./report-model.js";
import { visibleText } from "./text.js";

const EDGE = 16;
const SIDE = 640;

/**
 * Connects the buttons that carry something away: the view as PNG, the state as JSON, a hook's name, a knock-out as
 * JSON.
 * @param {import("./report-model.js").Model} model
 * @param {import("./state.js").Store} store
 * @param {Uint8Array} colours
 * @param {readonly CanvasImageSource[]} images
 */
export function connectExports(model, store, colours, images) {
  const on = (/** @type {string} */ id, /** @type {() => unknown} */ act) =>
    byId(id, HTMLButtonElement).addEventListener("click", () => void act());
  on("save-png", () =>
    viewCanvas(model, store.get(), colours, images).toBlob((blob) => blob && save(blob, "attention.png")),
  );
  on("save-json", () => {
    const text = JSON.stringify(stateReport(model, store.get()), null, 2);
    save(new Blob([text], { type: "application/json" }), "attention-state.json");
  });
  on("copy-hook", () => copy(hookName(store.get())));
  on("copy-knock-out", () => copy(JSON.stringify([knockOutOf(model, store.get())])));
  const knockOut = byId("copy-knock-out", HTMLButtonElement);
  return () => void (knockOut.disabled = knockOutOf(model, store.get()) === null);
}

/**
 * What is shown, for a machine: the choices, the hook that the values come from, and the values of the map.
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 */
export function stateReport(model, state) {
  const { model: name, prompt, answer, grid } = model.data;
  const { values } = shownMap(model, state);
  const run = { model: name, prompt, answer, grid };
  const shown = { hook: hookName(state), position: model.rows.queries[state.query], patches: Array.from(values) };
  return { run, state, shown, knockOut: knockOutOf(model, state) };
}

/**
 * The map as one picture: the query, the map, its legend and how it was drawn.
 * @param {import("./report-model.js").Model} model
 * @param {import("./report-model.js").State} state
 * @param {Uint8Array} colours
 * @param {readonly CanvasImageSource[]} images
 */
function viewCanvas(model, state, colours, images) {
  const map = shownMap(model, state);
  const picture = mapPicture(model, state, map, colours, images[state.picture], SIDE);
  const [plain, legend, whole] = [0, 1, 2].map(() => document.createElement("canvas"));
  picture.paint(fresh(plain, picture.width, picture.height));
  drawLegend(legend, colours, map.scale, SIDE);
  const about = visibleText(`${model.data.model}: ${model.data.prompt.trim()} → ${model.data.answer}`);
  const measure = fresh(whole, SIDE, 10);
  const head = broken(measure, `${about}\n${queryWords(model, state.query)}`, 14);
  const foot = broken(measure, `${mapWords(state, map)} Attention is not an explanation.`, 12);
  const top = EDGE + head.length * 20;
  const bottom = top + picture.height + 48;
  const height = bottom + foot.length * 18 + EDGE;
  const context = fresh(whole, SIDE + 2 * EDGE, height);
  context.fillStyle = theme().paper;
  context.fillRect(0, 0, SIDE + 2 * EDGE, height);
  head.forEach((line, i) => write(context, line, EDGE, EDGE + 12 + 20 * i, { size: 14, fill: theme().ink }));
  context.drawImage(plain, EDGE, top, picture.width, picture.height);
  context.drawImage(legend, EDGE, top + picture.height + 10, SIDE, 30);
  foot.forEach((line, i) => write(context, line, EDGE, bottom + 12 + 18 * i, { size: 12 }));
  return whole;
}

/**
 * Text in lines that fit the width of a saved view.
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} size
 */
function broken(context, text, size) {
  context.font = `${size}px ${theme().font}`;
  /** @type {string[]} */
  const lines = [];
  for (const paragraph of text.split("\n")) {
    lines.push("");
    for (const word of paragraph.split(" ")) {
      const longer = `${lines[lines.length - 1]} ${word}`.trim();
      if (context.measureText(longer).width <= SIDE || lines[lines.length - 1] === "") lines[lines.length - 1] = longer;
      else lines.push(word);
    }
  }
  return lines;
}

/**
 * @param {Blob} blob
 * @param {string} name
 */
function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {string} text */
async function copy(text) {
  const note = byId("copied", HTMLElement);
  try {
    await navigator.clipboard.writeText(text);
    note.textContent = `Copied: ${text}`;
  } catch {
    note.textContent = `Copy this: ${text}`;
  }
}
