import { cellsOver } from "./cells.js";
import { colourAt, hexOf } from "./colour-map.js";
import { element, FAINT, LINE, textAt } from "./markup.js";
import { type Scale, valueAt } from "./page/scale.js";
import { numberText } from "./page/text.js";

/** The height that a legend takes. */
export const LEGEND_HEIGHT = 28;

/** A strip of the scale's colours with the values at its ends and middle, from (x, y) down `LEGEND_HEIGHT`. */
export function legendStrip(scale: Scale, x: number, y: number, width: number): string {
  const steps = 64;
  const frame = { x, y, width, height: 12 };
  const strip = cellsOver(frame, [1, steps], (_row, step) => hexOf(colourAt(scale.colours, step / (steps - 1))));
  const border = element("rect", { ...frame, fill: "none", stroke: LINE });
  const ticks = ([0, 0.5, 1] as const).map((at) => {
    const anchor = at === 0 ? "start" : at === 1 ? "end" : "middle";
    return textAt(x + at * width, y + 24, numberText(valueAt(at, scale)), { size: 10, anchor, fill: FAINT });
  });
  return strip + border + ticks.join("");
}
