import { element } from "./markup.js";

/**
 * A grid of coloured cells, one path for each colour: neighbours in a row with one colour are one stroke of it, so that
 * a map of thousands of cells stays a few kilobytes. `colourOf` names the fill of a cell, or null where nothing is
 * drawn. Cells are 1 by 1 from (0, 0); the caller scales them.
 */
export function cellPaths(
  rows: number,
  columns: number,
  colourOf: (row: number, column: number) => string | null,
): string {
  const paths = new Map<string, string>();
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns;) {
      const colour = colourOf(row, column);
      let end = column + 1;
      while (end < columns && colourOf(row, end) === colour) end++;
      if (colour !== null) {
        paths.set(colour, `${paths.get(colour) ?? ""}M${column} ${row}h${end - column}v1H${column}z`);
      }
      column = end;
    }
  }
  return [...paths].map(([fill, d]) => element("path", { fill, d })).join("");
}

/** Cells over the rectangle (x, y, width, height), with crisp edges so that no seam shows between them. */
export function cellsOver(
  frame: { x: number; y: number; width: number; height: number },
  grid: readonly [rows: number, columns: number],
  colourOf: (row: number, column: number) => string | null,
  opacity = 1,
): string {
  const [rows, columns] = grid;
  const scale = `scale(${frame.width / columns} ${frame.height / rows})`;
  const attributes = {
    transform: `translate(${frame.x} ${frame.y}) ${scale}`,
    "fill-opacity": opacity === 1 ? undefined : opacity,
    "shape-rendering": "crispEdges",
  };
  return element("g", attributes, cellPaths(rows, columns, colourOf));
}
