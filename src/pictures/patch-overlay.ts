import { cellsOver } from "./cells.js";
import { colourAt, hexOf } from "./colour-map.js";
import { element } from "./markup.js";
import { fractionOf, type Scale } from "./page/scale.js";

/** A rectangle of a drawing. */
export type Frame = { x: number; y: number; width: number; height: number };

/** A map [rows * cols] over a rectangle in the colours of its scale. Cells that are left out (NaN) are crossed. */
export function patchOverlay(
  values: ArrayLike<number>,
  grid: readonly [rows: number, columns: number],
  scale: Scale,
  frame: Frame,
  opacity: number,
): string {
  const colourOf = (row: number, column: number) => {
    const fraction = fractionOf(values[row * grid[1] + column], scale);
    return Number.isNaN(fraction) ? null : hexOf(colourAt(scale.colours, fraction));
  };
  return cellsOver(frame, grid, colourOf, opacity) + crosses(values, grid, frame);
}

function crosses(values: ArrayLike<number>, [rows, columns]: readonly [number, number], frame: Frame): string {
  const [width, height] = [frame.width / columns, frame.height / rows];
  const cross = (cell: number) => {
    const x = frame.x + (cell % columns) * width;
    const y = frame.y + Math.floor(cell / columns) * height;
    return `M${x} ${y}l${width} ${height}m0 ${-height}l${-width} ${height}`;
  };
  const out = Array.from(values, (value, cell) => (Number.isNaN(value) ? cross(cell) : "")).join("");
  if (out === "") return "";
  const line = (stroke: string, width: number) =>
    element("path", { d: out, fill: "none", stroke, "stroke-width": width });
  return line("#ffffff", 2.5) + line("#000000", 1);
}
