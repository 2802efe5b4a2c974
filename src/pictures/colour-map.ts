import { interpolateRdBu, interpolateViridis } from "d3-scale-chromatic";

/**
 * Which colours: "sequential" (viridis) for sizes, "diverging" (blue below, white at, red above the middle) for signed
 * values.
 */
export type ColourMap = "sequential" | "diverging";

/** Red, green and blue, each an integer from 0 to 255. */
export type Rgb = readonly [red: number, green: number, blue: number];

/** Both maps keep their order of lightness for every kind of colour vision. */
const INTERPOLATORS: Record<ColourMap, (fraction: number) => string> = {
  sequential: interpolateViridis,
  diverging: (fraction) => interpolateRdBu(1 - fraction),
};

/** Steps of a table: more than an eye, or an 8-bit screen, tells apart. */
const STEPS = 256;

const tables: Record<ColourMap, Uint8Array> = { sequential: tableOf("sequential"), diverging: tableOf("diverging") };

function tableOf(map: ColourMap): Uint8Array {
  return Uint8Array.from(Array.from({ length: STEPS }, (_, i) => rgbOf(INTERPOLATORS[map](i / (STEPS - 1)))).flat());
}

/** Reads both spellings that the interpolators use: `#440154` and `rgb(68, 1, 84)`. */
function rgbOf(colour: string): number[] {
  if (colour.startsWith("#")) return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return colour.match(/\d+/g)!.map(Number);
}

/** A map as 256 colours, [256, 3] bytes from the smallest to the largest value. The table is a copy. */
export function colourTable(map: ColourMap): Uint8Array {
  return tables[map].slice();
}

/** The colour at a fraction of the map; what is outside [0, 1] is drawn as its nearest end. */
export function colourAt(map: ColourMap, fraction: number): Rgb {
  const step = 3 * Math.round(Math.min(Math.max(fraction, 0), 1) * (STEPS - 1));
  const table = tables[map];
  return [table[step], table[step + 1], table[step + 2]];
}

/** `#rrggbb`. */
export function hexOf(colour: Rgb): string {
  return `#${colour.map((part) => part.toString(16).padStart(2, "0")).join("")}`;
}

/**
 * Relative luminance in [0, 1], by which lightness is compared: 0.2126 R + 0.7152 G + 0.0722 B of linear light.
 * Source: WCAG 2.2, "relative luminance".
 */
export function luminance([red, green, blue]: Rgb): number {
  const linear = (part: number) => (part <= 10.31475 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4);
  return 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
}

/** Black or white, whichever is read better on a background. Equal contrast lies at luminance 0.179. */
export function inkOn(background: Rgb): "#000000" | "#ffffff" {
  return luminance(background) > 0.179 ? "#000000" : "#ffffff";
}
