import { FAINT, textAt, type TextStyle, wrap } from "./markup.js";

/** Lines of text from (x, y) down within a width: the markup, and the height that it takes. */
export function paragraph(
  x: number,
  y: number,
  width: number,
  text: string,
  style: TextStyle = {},
): { markup: string; height: number } {
  const { size = 11, fill = FAINT } = style;
  const leading = Math.round(size * 1.4);
  const lines = text === "" ? [] : wrap(text, width, size);
  const markup = lines.map((line, i) => textAt(x, y + leading * i + size, line, { ...style, size, fill })).join("");
  return { markup, height: leading * lines.length };
}
