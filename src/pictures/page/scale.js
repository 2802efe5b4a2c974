import { numberText } from "./text.js";

/**
 * How values become brightness. "raw": as they are, one scale for all maps. "renormalised": each map divided by its sum
 * over the image, one scale. "min-max": each map from its own smallest to its own largest. "log": logarithmic, one
 * scale.
 * @typedef {"raw" | "renormalised" | "min-max" | "log"} Normalisation
 */

/**
 * From a value to [0, 1]: linear or logarithmic between `low` and `high`.
 * @typedef {{ low: number, high: number, kind: "linear" | "log", colours: "sequential" | "diverging" }} Scale
 */

/**
 * Maps ready to be coloured: their values, one scale each, and what was done in words.
 * @typedef {{ maps: Float64Array[], scales: Scale[], words: string }} Normalised
 */

/** Smaller values are drawn as this one on a logarithmic scale. */
export const LOG_FLOOR = 1e-6;

/**
 * Every way to scale the numbers of a map.
 * @type {readonly Normalisation[]}
 */
export const NORMALISATIONS = ["raw", "renormalised", "min-max", "log"];

/**
 * The values, scales and words for some maps. NaN marks a cell that is left out: it has no colour and counts nowhere.
 * Maps with a negative value get a diverging scale around 0 ("raw" and "min-max" only). `high` replaces the largest
 * value as the end of a shared scale, so that pictures drawn apart can be compared.
 * @param {readonly ArrayLike<number>[]} maps
 * @param {Normalisation} how
 * @param {number} [high]
 * @returns {Normalised}
 */
export function normalise(maps, how, high) {
  const given = maps.map((map) => Float64Array.from(map));
  const sums = given.map((map) => map.reduce((sum, value) => sum + (value || 0), 0));
  const shown = how === "renormalised" ? given.map((map, i) => map.map((value) => value / (sums[i] || 1))) : given;
  const scales = how === "min-max" ? shown.map((map) => scaleOf([map], how)) : sharedScales(shown, how, high);
  const dropped = sums.map((sum) => 1 - sum);
  return { maps: shown, scales, words: normalisationWords(how, scales[0], maps.length, dropped) };
}

/**
 * @param {Float64Array[]} maps
 * @param {Normalisation} how
 * @param {number} [high]
 */
function sharedScales(maps, how, high) {
  const scale = scaleOf(maps, how, high);
  return maps.map(() => scale);
}

/**
 * @param {Float64Array[]} maps
 * @param {Normalisation} how
 * @param {number} [given] the end of the scale
 * @returns {Scale}
 */
function scaleOf(maps, how, given) {
  const [least, most] = rangeOf(maps);
  const high = given ?? most;
  if (how === "log") {
    const top = high > LOG_FLOOR ? high : 1;
    return { low: Math.min(Math.max(least, LOG_FLOOR), top / 10), high: top, kind: "log", colours: "sequential" };
  }
  if (least < 0) {
    const size = given ?? Math.max(-least, most);
    return { low: -size, high: size, kind: "linear", colours: "diverging" };
  }
  return { low: how === "min-max" ? least : 0, high, kind: "linear", colours: "sequential" };
}

/**
 * The smallest and largest value that is not left out; [0, 0] where all are.
 * @param {readonly Float64Array[]} maps
 */
function rangeOf(maps) {
  let least = Infinity;
  let most = -Infinity;
  for (const map of maps) {
    for (const value of map) {
      if (value < least) least = value;
      if (value > most) most = value;
    }
  }
  return least <= most ? [least, most] : [0, 0];
}

/**
 * What was done to `count` maps, in words, with the numbers of one scale and the mass that renormalising dropped.
 * @param {Normalisation} how
 * @param {Scale} scale
 * @param {number} count
 * @param {readonly number[]} dropped
 */
export function normalisationWords(how, { low, high }, count, dropped) {
  const shared = count > 1 ? `, one scale for ${count} maps` : "";
  const range = `${numberText(low)} to ${numberText(high)}`;
  switch (how) {
    case "raw":
      return `raw values${shared}: ${range}`;
    case "renormalised":
      return `renormalised over image${shared}: ${range}; dropped mass (elsewhere or left out) ${spanOf(dropped)}`;
    case "min-max":
      return `min-max per map${count > 1 ? "" : `: ${range}`}; brightness cannot be compared between maps, and noise looks like structure`;
    case "log":
      return `log scale${shared}: ${range}; what is smaller is drawn as ${numberText(low)}`;
  }
}

/** @param {readonly number[]} values */
function spanOf(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => numberText(value));
  return least === most ? least : `${least} to ${most}`;
}

/**
 * Where a value lies on its scale, in [0, 1]; NaN for a cell that is left out.
 * @param {number} value
 * @param {Scale} scale
 */
export function fractionOf(value, { low, high, kind, colours }) {
  if (Number.isNaN(value)) return NaN;
  if (!(high > low)) return colours === "diverging" ? 0.5 : 0;
  const fraction =
    kind === "log" ? Math.log(Math.max(value, low) / low) / Math.log(high / low) : (value - low) / (high - low);
  return Math.min(Math.max(fraction, 0), 1);
}

/**
 * The value at a fraction of a scale: what a legend writes there.
 * @param {number} fraction
 * @param {Scale} scale
 */
export function valueAt(fraction, { low, high, kind }) {
  return kind === "log" ? low * (high / low) ** fraction : low + (high - low) * fraction;
}
