import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A shape of a held-out picture; `box` is [top, left, bottom, right] as parts of the picture. */
export type Shape = { kind: string; color: string; position: string; box: [number, number, number, number] };

/** A picture that the demo checkpoint has never seen, and what is on it. */
export type Scene = { file: string; shapes: Shape[] };

const folder = fileURLToPath(new URL("../test/heldout/", import.meta.url));

/** The held-out pictures that show at least `count` shapes, no kind twice. */
export function scenes(count: number): Scene[] {
  const { pictures } = JSON.parse(readFileSync(`${folder}heldout.json`, "utf8")) as {
    pictures: { file: string; scene: { shapes: Shape[] } }[];
  };
  return pictures
    .map(({ file, scene }) => ({ file: folder + file, shapes: scene.shapes }))
    .filter(({ shapes }) => shapes.length >= count && new Set(shapes.map(({ kind }) => kind)).size === shapes.length);
}

/** The patches that a box touches by at least half a patch, in reading order. */
export function patchesOf([top, left, bottom, right]: Shape["box"], [rows, columns]: [number, number]): number[] {
  const inside = (low: number, high: number, count: number) => (i: number) =>
    (i + 0.5) / count > low && (i + 0.5) / count < high;
  const [down, across] = [inside(top, bottom, rows), inside(left, right, columns)];
  return Array.from({ length: rows * columns }, (_, i) => i).filter(
    (i) => down(Math.floor(i / columns)) && across(i % columns),
  );
}

/** The mean of a list. */
export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** A part as a percentage in words. */
export const percent = (part: number): string => `${(100 * part).toFixed(1)} %`;
