import { visibleText } from "./page/text.js";

/** Attributes of an element; what is undefined is not written. */
export type Attributes = Readonly<Record<string, string | number | undefined>>;

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Any text made harmless between tags and inside quoted attributes of HTML and SVG; controls are shown as signs. */
export function escapeMarkup(text: string): string {
  return visibleText(text).replace(/[&<>"']/g, (sign) => ENTITIES[sign]);
}

/** One element; attribute values are escaped, children are markup already. */
export function element(name: string, attributes: Attributes, ...children: string[]): string {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === "number" ? rounded(value) : escapeMarkup(value!)}"`)
    .join("");
  return children.length === 0 ? `<${name}${written}/>` : `<${name}${written}>${children.join("")}</${name}>`;
}

/** Coordinates to a hundredth of a pixel. */
export const rounded = (value: number): string => String(Math.round(value * 100) / 100);

/** How a text is set. */
export type TextStyle = {
  size?: number;
  anchor?: "start" | "middle" | "end";
  weight?: "normal" | "bold";
  fill?: string;
  rotate?: number;
};

/** A line of text with its baseline at (x, y); any text may come in. */
export function textAt(x: number, y: number, text: string, style: TextStyle = {}): string {
  const { size = 12, anchor = "start", weight = "normal", fill = INK, rotate } = style;
  const turn = rotate === undefined ? undefined : `rotate(${rotated(rotate)} ${rounded(x)} ${rounded(y)})`;
  const attributes = { x, y, "font-size": size, "text-anchor": anchor, "font-weight": weight, fill, transform: turn };
  return element("text", attributes, escapeMarkup(text));
}

const rotated = (degrees: number): string => rounded(degrees);

/** The colours of a drawing's paper and letters, and of lines and lesser text. */
export const PAPER = "#ffffff";
export const INK = "#1b1b1f";
export const FAINT = "#63636e";
export const LINE = "#c4c4cc";

/** A whole SVG file on white paper, with a title for those who hear it. */
export function svgDocument(width: number, height: number, title: string, ...children: string[]): string {
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg",
    width,
    height,
    viewBox: `0 0 ${rounded(width)} ${rounded(height)}`,
    role: "img",
    "font-family": "DejaVu Sans, Verdana, Helvetica, Arial, sans-serif",
  };
  const paper = element("rect", { width, height, fill: PAPER });
  return element("svg", attributes, element("title", {}, escapeMarkup(title)), paper, ...children);
}

/** Words broken into lines of at most `width` pixels, by the mean width of a letter, 0.56 of its size. */
export function wrap(text: string, width: number, size: number): string[] {
  const room = Math.max(Math.floor(width / (0.56 * size)), 8);
  const lines: string[] = [""];
  for (const word of visibleText(text)
    .split(" ")
    .flatMap((part) => pieces(part, room))) {
    const line = lines[lines.length - 1];
    if (line === "") lines[lines.length - 1] = word;
    else if (line.length + 1 + word.length <= room) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** A word longer than a line, in pieces. */
function pieces(word: string, room: number): string[] {
  const letters = [...word];
  const count = Math.max(Math.ceil(letters.length / room), 1);
  return Array.from({ length: count }, (_, i) => letters.slice(i * room, (i + 1) * room).join(""));
}
