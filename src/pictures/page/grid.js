import { fresh } from "./canvas.js";

/** @typedef {{ row: number, column: number }} Cell */

/**
 * A picture of cells: its size, where its cells lie on it, and how to paint it.
 * @typedef {{
 *   width: number, height: number, frame: import("./canvas.js").Frame, rows: number, columns: number,
 *   paint: (context: CanvasRenderingContext2D) => void,
 * }} GridPicture
 */

/**
 * Makes a canvas of cells usable by pointer and keys: `move` hears the cell under the pointer or the keys' cursor (or null),
 * `choose` the cell that was clicked or entered, and the cell where a drag, or a choice with Shift, began.
 * @param {HTMLCanvasElement} canvas
 * @param {{ move: (cell: Cell | null) => void, choose: (cell: Cell, from: Cell) => void }} hears
 */
export function createGrid(canvas, hears) {
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  cursor.hidden = true;
  canvas.after(cursor);
  /** @type {GridPicture | null} */
  let shown = null;
  /** @type {Cell | null} */
  let at = null;
  /** @type {Cell | null} */
  let from = null;

  const moveTo = (/** @type {Cell | null} */ cell) => {
    at = cell;
    if (shown) placeCursor(cursor, shown, cell);
    hears.move(cell);
  };
  const choose = (/** @type {boolean} */ extend) => {
    if (at === null) return;
    if (!extend || from === null) from = at;
    hears.choose(at, from);
  };
  const under = (/** @type {MouseEvent} */ event) => shown && cellUnder(canvas, shown, event);
  canvas.addEventListener("pointermove", (event) => moveTo(under(event)));
  canvas.addEventListener("pointerleave", () => moveTo(null));
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.shiftKey) from = under(event);
  });
  canvas.addEventListener("click", (event) => {
    moveTo(under(event));
    choose(true);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (step && shown) moveTo(stepped(at, step, shown));
    else if (event.key === "Enter" || event.key === " ") choose(event.shiftKey);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => moveTo(null));

  return {
    /** @param {GridPicture} picture */
    show(picture) {
      shown = picture;
      if (at && (at.row >= picture.rows || at.column >= picture.columns)) at = null;
      picture.paint(fresh(canvas, picture.width, picture.height));
      placeCursor(cursor, picture, at);
    },
  };
}

/** @type {Record<string, Cell>} */
const STEPS = {
  ArrowUp: { row: -1, column: 0 },
  ArrowDown: { row: 1, column: 0 },
  ArrowLeft: { row: 0, column: -1 },
  ArrowRight: { row: 0, column: 1 },
};

/**
 * @param {Cell | null} cell
 * @param {Cell} step
 * @param {GridPicture} picture
 */
function stepped(cell, step, { rows, columns }) {
  if (cell === null) return { row: 0, column: 0 };
  const within = (/** @type {number} */ value, /** @type {number} */ count) => Math.min(Math.max(value, 0), count - 1);
  return { row: within(cell.row + step.row, rows), column: within(cell.column + step.column, columns) };
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {GridPicture} picture
 * @param {MouseEvent} event
 */
function cellUnder(canvas, { frame, rows, columns }, event) {
  const corner = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - corner.left - frame.x) / frame.width) * columns);
  const row = Math.floor(((event.clientY - corner.top - frame.y) / frame.height) * rows);
  return row >= 0 && row < rows && column >= 0 && column < columns ? { row, column } : null;
}

/**
 * @param {HTMLElement} cursor
 * @param {GridPicture} picture
 * @param {Cell | null} cell
 */
function placeCursor(cursor, { frame, rows, columns }, cell) {
  cursor.hidden = cell === null;
  if (cell === null) return;
  const [width, height] = [frame.width / columns, frame.height / rows];
  cursor.style.left = `${frame.x + cell.column * width}px`;
  cursor.style.top = `${frame.y + cell.row * height}px`;
  cursor.style.width = `${width}px`;
  cursor.style.height = `${height}px`;
}
