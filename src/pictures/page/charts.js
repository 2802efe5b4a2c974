import { fresh, theme, write } from "./canvas.js";
import { numberText } from "./text.js";

/**
 * A line over layers, with the numbers of its ends and a mark at the chosen layer.
 * @param {HTMLCanvasElement} canvas
 * @param {{ values: readonly number[], labels: readonly number[], chosen: number, logarithmic: boolean }} line
 * @param {number} width
 */
export function drawChart(canvas, { values, labels, chosen, logarithmic }, width) {
  const height = 120;
  const frame = { x: 48, y: 10, width: width - 60, height: height - 34 };
  const context = fresh(canvas, width, height);
  const { faint, line, accent, ink } = theme();
  const of = (/** @type {number} */ value) => (logarithmic ? Math.log10(Math.max(value, 1)) : value);
  const low = logarithmic ? 0 : Math.min(0, ...values);
  const high = Math.max(...values.map(of), low + 1e-9);
  const x = (/** @type {number} */ i) => frame.x + (values.length > 1 ? (i / (values.length - 1)) * frame.width : 0);
  const y = (/** @type {number} */ value) => frame.y + (1 - (of(value) - low) / (high - low)) * frame.height;
  context.strokeStyle = line;
  context.strokeRect(frame.x, frame.y, frame.width, frame.height);
  context.strokeStyle = accent;
  context.lineWidth = 2;
  context.beginPath();
  values.forEach((value, i) => (i === 0 ? context.moveTo(x(i), y(value)) : context.lineTo(x(i), y(value))));
  context.stroke();
  context.fillStyle = ink;
  context.beginPath();
  context.arc(x(chosen), y(values[chosen]), 4, 0, 2 * Math.PI);
  context.fill();
  const [bottom, top] = logarithmic ? [1, 10 ** high] : [low, high];
  write(context, numberText(top), frame.x - 6, frame.y + 8, { align: "right" });
  write(context, numberText(bottom), frame.x - 6, frame.y + frame.height, { align: "right" });
  write(context, `layer ${labels[0]}`, frame.x, height - 8, { fill: faint });
  write(context, String(labels[labels.length - 1]), frame.x + frame.width, height - 8, { align: "right", fill: faint });
}
