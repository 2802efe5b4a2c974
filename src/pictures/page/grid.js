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
 * Makes a canvas of cells usable by pointer and keys: `move` hears the cell under the pointer or the keys' cursor (or
 * null), `choose` the cell that was clicked or entered, and the cell where a drag, or a choice with Shift, began.
 * @param {HTMLCanvasElement} canvas
 * @param {{ move: (cell: Cell | null) => void, choose: (cell: Cell, from: Cell) => void }} hears
 */
export function createGrid(canvas, hears) {
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  cursor.hidden = true;
  canvas.after(cursor);
  /** @type {Hand} */
  const hand = {
    shown: null,
    at: null,
    from: null,
    moveTo(cell) {
      hand.at = cell;
      if (hand.shown) placeCursor(cursor, hand.shown, cell);
      hears.move(cell);
    },
    choose(extend) {
      if (hand.at === null) return;
      if (!extend || hand.from === null) hand.from = hand.at;
      hears.choose(hand.at, hand.from);
    },
  };
  connectPointer(canvas, hand);
  connectKeys(canvas, hand);
  return {
    /** @param {GridPicture} picture */
    show(picture) {
      hand.shown = picture;
      if (hand.at && (hand.at.row >= picture.rows || hand.at.column >= picture.columns)) hand.at = null;
      picture.paint(fresh(canvas, picture.width, picture.height));
      placeCursor(cursor, picture, hand.at);
    },
  };
}

/**
 * Where a reader is on a grid: what is shown, the cell under the cursor, and the cell where a choice of several began.
 * @typedef {{
 *   shown: GridPicture | null, at: Cell | null, from: Cell | null,
 *   moveTo: (cell: Cell | null) => void, choose: (extend: boolean) => void,
 * }} Hand
 */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Hand} hand
 */
function connectPointer(canvas, hand) {
  const under = (/** @type {MouseEvent} */ event) => hand.shown && cellUnder(canvas, hand.shown, event);
  canvas.addEventListener("pointermove", (event) => hand.moveTo(under(event)));
  canvas.addEventListener("pointerleave", () => hand.moveTo(null));
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.shiftKey) hand.from = under(event);
  });
  canvas.addEventListener("click", (event) => {
    hand.moveTo(under(event));
    hand.choose(true);
  });
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {Hand} hand
 */
function connectKeys(canvas, hand) {
  canvas.addEventListener("keydown", (event) => {
    const step = STEPS[event.key];
    if (step && hand.shown) hand.moveTo(stepped(hand.at, step, hand.shown));
    else if (event.key === "Enter" || event.key === " ") hand.choose(event.shiftKey);
    else return;
    event.preventDefault();
  });
  canvas.addEventListener("blur", () => hand.moveTo(null));
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
