import { fractionOf, valueAt } from "./scale.js";
import { numberText } from "./text.js";

/** @typedef {{ x: number, y: number, width: number, height: number }} Frame */

/**
 * The colours of the page, as its style sheet sets them for light and dark.
 * @returns {{ ink: string, faint: string, line: string, paper: string, accent: string, font: string }}
 */
export function theme() {
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  const font = getComputedStyle(document.body).fontFamily;
  const [ink, faint, line, paper, accent] = ["ink", "faint", "line", "card", "accent"].map(read);
  return { ink, faint, line, paper, accent, font };
}

/**
 * Sizes a canvas in pixels of the page and cleans it; drawing then counts in the same pixels on every screen.
 * @param {HTMLCanvasElement} canvas
 * @param {number} width
 * @param {number} height
 */
export function fresh(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(Math.round(width * ratio), 1);
  canvas.height = Math.max(Math.round(height * ratio), 1);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.scale(ratio, ratio);
  return context;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {{ size?: number, align?: CanvasTextAlign, fill?: string, weight?: number }} [style]
 */
export function write(context, text, x, y, { size = 11, align = "left", fill = theme().faint, weight = 400 } = {}) {
  context.font = `${weight} ${size}px ${theme().font}`;
  context.textAlign = align;
  context.fillStyle = fill;
  context.fillText(text, x, y);
}

/**
 * The colour of a value on a scale, and black or white for letters on it.
 * @param {Uint8Array} colours 256 x 3
 * @param {number} value
 * @param {import("./scale.js").Scale} scale
 */
export function colourOf(colours, value, scale) {
  const at = 3 * Math.round(fractionOf(value, scale) * 255);
  const [red, green, blue] = colours.subarray(at, at + 3);
  const linear = (/** @type {number} */ part) => ((part / 255 + 0.055) / 1.055) ** 2.4;
  const light = 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  return { fill: `rgb(${red} ${green} ${blue})`, ink: light > 0.179 ? "#000" : "#fff" };
}

/**
 * A strip of the colours of a scale with numbers at its ends and middle.
 * @param {HTMLCanvasElement} canvas
 * @param {Uint8Array} colours
 * @param {import("./scale.js").Scale} scale
 * @param {number} width
 */
export function drawLegend(canvas, colours, scale, width) {
  const context = fresh(canvas, width, 30);
  for (let x = 0; x < width; x++) {
    context.fillStyle = colourOf(colours, valueAt(x / (width - 1), scale), scale).fill;
    context.fillRect(x, 0, 1, 12);
  }
  for (const [at, align] of /** @type {[number, CanvasTextAlign][]} */ ([
    [0, "left"],
    [0.5, "center"],
    [1, "right"],
  ])) {
    // prettier-ignore
    write(context, numberText(valueAt(at, scale)), at * width, 26, { align });
  }
}

/**
 * A line around a rectangle [x, y, width, height].
 * @param {CanvasRenderingContext2D} context
 * @param {readonly [number, number, number, number]} rectangle
 * @param {string} colour
 * @param {number} width
 */
export function outline(context, rectangle, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.strokeRect(...rectangle);
}

/**
 * The pixels of the page that an element has room for.
 * @param {Element} element
 */
export const roomIn = (element) => Math.floor(element.clientWidth);

/**
 * Finds an element of the page by its id.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}

/**
 * An element with text, which may hold anything.
 * @param {string} tag
 * @param {string} text
 * @param {string} [className]
 */
export function elementWith(tag, text, className) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}
