import { type Box, LOCATIONS } from "./box.js";

/** Mask codes of one object, and the number of codes that there are. */
export const MASK_CODES = 16;
/** Rows of the codebook that `<seg>` tokens name. */
export const CODEBOOK = 128;

/** One object of an answer, well formed or not. `start` and `end` are its place in the text, half-open. */
export type ParsedObject = {
  label: string;
  start: number;
  end: number;
} & (
  | { valid: true; box: Box; codes: readonly number[] | null }
  /** The box is there where the mask codes alone are at fault. */
  | { valid: false; reason: string; box: Box | null; codes: null }
);

/** An answer taken apart: objects in order, text that belongs to none, and what was odd, in words. */
export type ParsedAnswer = { objects: ParsedObject[]; texts: string[]; warnings: string[] };

/**
 * Takes a detection or segmentation apart, `loc loc loc loc [seg x 16] label` joined by " ; ", whatever the model has
 * written: it never throws. An object is valid with four locations below 1024 that span an area and, where there are
 * mask codes, sixteen of them below 128. All else is kept as an invalid object with the reason, or as text. Source of
 * the grammar: google-research/big_vision, evaluators/proj/paligemma (detection and segmentation).
 */
export function parseObjects(text: string): ParsedAnswer {
  const parsed: ParsedAnswer = { objects: [], texts: [], warnings: [] };
  let at = 0;
  while (at < text.length) {
    const next = nextToken(text, at);
    addText(parsed, text.slice(at, next));
    if (next === text.length) break;
    const object = readObject(text, next);
    if (!object.valid) parsed.warnings.push(`object ${parsed.objects.length + 1}: ${object.reason}`);
    parsed.objects.push(object);
    at = skipSeparator(text, object.end);
  }
  return parsed;
}

const LOC = /<loc(\d{4})>/y;
const SEG = /<seg(\d{3})>/y;
const ANY = /<(?:loc\d{4}|seg\d{3})>/g;
const LABEL = /[^;<>]*/y;

function nextToken(text: string, from: number): number {
  ANY.lastIndex = from;
  return ANY.exec(text)?.index ?? text.length;
}

function addText(parsed: ParsedAnswer, text: string): void {
  const kept = text.replace(/^[\s;]+|[\s;]+$/g, "");
  if (kept === "") return;
  parsed.texts.push(kept);
  parsed.warnings.push(`text outside of objects: ${JSON.stringify(kept.slice(0, 80))}`);
}

function readObject(text: string, start: number): ParsedObject {
  const locations = readTokens(text, start, LOC, 4);
  const codes = readTokens(text, skipSpaces(text, locations.end), SEG, MASK_CODES);
  // Spaces before codes that are not there belong to the label.
  const afterCodes = codes.values.length > 0 ? codes.end : locations.end;
  LABEL.lastIndex = afterCodes;
  const written = LABEL.exec(text)![0];
  const end = afterCodes + written.length;
  const common = { label: written.trim(), start, end };
  const misplaced = faultOfBox(locations.values);
  if (misplaced !== null) return { ...common, valid: false, reason: misplaced, box: null, codes: null };
  const box = locations.values as unknown as Box;
  const reason = faultOfCodes(codes.values);
  if (reason !== null) return { ...common, valid: false, reason, box, codes: null };
  return { ...common, valid: true, box, codes: codes.values.length > 0 ? codes.values : null };
}

function readTokens(text: string, from: number, token: RegExp, most: number): { values: number[]; end: number } {
  const values: number[] = [];
  let end = from;
  while (values.length < most) {
    token.lastIndex = end;
    const found = token.exec(text);
    if (found === null) break;
    values.push(Number(found[1]));
    end = token.lastIndex;
  }
  return { values, end };
}

function faultOfBox(locations: readonly number[]): string | null {
  if (locations.length !== 4) return `${locations.length} locations, expected 4`;
  const far = locations.find((value) => value >= LOCATIONS);
  if (far !== undefined) return `location ${far}, expected less than ${LOCATIONS}`;
  const [y0, x0, y1, x1] = locations as [number, number, number, number];
  return y1 <= y0 || x1 <= x0 ? `a box from (${x0}, ${y0}) to (${x1}, ${y1}), which has no area` : null;
}

function faultOfCodes(codes: readonly number[]): string | null {
  if (codes.length !== 0 && codes.length !== MASK_CODES) return `${codes.length} mask codes, expected ${MASK_CODES}`;
  const unknown = codes.find((code) => code >= CODEBOOK);
  return unknown === undefined ? null : `mask code ${unknown}, expected less than ${CODEBOOK}`;
}

function skipSpaces(text: string, from: number): number {
  let at = from;
  while (text[at] === " ") at++;
  return at;
}

function skipSeparator(text: string, from: number): number {
  const at = skipSpaces(text, from);
  return text[at] === ";" ? skipSpaces(text, at + 1) : from;
}
