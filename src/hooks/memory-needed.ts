import { InputError } from "../base/errors.js";
import type { AxisLetter, HookPoint } from "../model/hook-catalogue.js";
import type { Keeping } from "./activation-cache.js";
import { type Pass, seenAt } from "./pass.js";
import { type KeptPart, selectKept } from "./selection.js";

/** Bytes that a capture may take where nothing else is said: 4 GiB. */
export const DEFAULT_BUDGET = 2 ** 32;

/** Bytes that a capture of one activation in one pass would take. */
export function bytesNeeded(
  point: HookPoint,
  part: KeptPart,
  pass: Pass,
  images: number,
  keeping: Keeping = {},
): number {
  const sizes: Partial<Record<AxisLetter, number>> = {
    I: images,
    B: pass.segments.length,
    T: pass.to - seenAt(point.name, pass).from,
    S: pass.to,
    T_text: Math.max(...pass.texts.map((row) => row.length)),
  };
  const shape = point.shape.map((size) => (typeof size === "number" ? size : (sizes[size] ?? 1)));
  const selection = selectKept(point, part, pass);
  if (selection === null) return 0;
  for (const { axis, rows } of selection) shape[axis] = Math.max(...rows.map((row) => row.length));
  const bytes = keeping.dtype === undefined || keeping.dtype === "float32" ? 4 : 2;
  return shape.reduce((product, size) => product * size, bytes);
}

/**
 * Throws `InputError` where the activations would take more than `budget` bytes together, naming the largest and what
 * would help.
 */
export function requireBudget(needed: ReadonlyMap<string, number>, budget: number): void {
  const total = [...needed.values()].reduce((sum, bytes) => sum + bytes, 0);
  if (total <= budget) return;
  const largest = [...needed].sort(([, a], [, b]) => b - a).slice(0, 3);
  const shown = largest.map(([name, bytes]) => `${name} ${inWords(bytes)}`).join(", ");
  const share = Math.floor((100 * budget) / total);
  throw new InputError(
    `budget: ${needed.size} activations would take ${inWords(total)}, more than ${inWords(budget)}; the largest are ${shown}. ` +
      `Ask for ${share < 1 ? "less than 1" : share} % of it: fewer hooks, \`positions\` such as "last", or \`keys\``,
  );
}

function inWords(bytes: number): string {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  return `${power === 0 ? bytes : (bytes / 2 ** (10 * power)).toFixed(1)} ${units[power]}`;
}
