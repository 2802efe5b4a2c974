import { InputError } from "../base/errors.js";
import type { Segment } from "../model/segments.js";

/**
 * Which positions are meant: an index (negative from the end), a half-open range such as "3:7", ":4" or "-2:", the name
 * of a segment ("image", "bos", "prefix", "newline", "suffix", "pad"), "last" (the query whose logits count),
 * "generated" (everything behind the prompt), or a list of these.
 */
export type Positions = number | string | readonly (number | string)[];

/**
 * What positions are counted in: `length` of them so far, of which `prompt` came with the first pass, and their
 * segments.
 */
export type Row = { length: number; prompt: number; segments: readonly Segment[] };

/**
 * The indices that a selector means in one row, rising and each once. A segment may be absent: then it means none of
 * its own. `what` names the selector in errors. Throws `InputError` for an index or range outside the row, or a name
 * that is none.
 */
export function resolvePositions(positions: Positions, row: Row, what = "positions"): number[] {
  const list: readonly unknown[] = Array.isArray(positions) ? positions : [positions];
  const indices = list.flatMap((one) => resolveOne(one, row, what));
  return [...new Set(indices)].sort((a, b) => a - b);
}

function resolveOne(one: unknown, row: Row, what: string): number[] {
  if (typeof one === "number") return [index(one, row.length, what)];
  if (typeof one !== "string") throw unknown(one, what);
  if (/^-?\d+$/.test(one)) return [index(Number(one), row.length, what)];
  const range = /^(-?\d+)?:(-?\d+)?$/.exec(one);
  if (range) return indicesOfRange(range[1], range[2], row.length, what, one);
  if (one === "last") return [lastReal(row)];
  if (one === "generated") return span(row.prompt, row.length);
  if (!SEGMENT_NAMES.includes(one)) throw unknown(one, what);
  return row.segments.filter(({ name }) => name === one).flatMap(({ start, end }) => span(start, end));
}

const SEGMENT_NAMES = ["pad", "image", "bos", "prefix", "newline", "suffix"];

const span = (start: number, end: number): number[] => Array.from({ length: end - start }, (_, i) => start + i);

function index(position: number, length: number, what: string): number {
  const at = position < 0 ? position + length : position;
  if (Number.isSafeInteger(position) && at >= 0 && at < length) return at;
  throw new InputError(`${what}: expected a position in [${-length}, ${length}), received ${position}`);
}

function indicesOfRange(from: string | undefined, to: string | undefined, length: number, what: string, text: string) {
  const bound = (value: string | undefined, otherwise: number) => {
    const at = value === undefined ? otherwise : Number(value);
    return at < 0 ? at + length : at;
  };
  const [start, end] = [bound(from, 0), bound(to, length)];
  if (start < 0 || end > length || start >= end) {
    throw new InputError(`${what}: expected a range within the ${length} positions, received "${text}"`);
  }
  return span(start, end);
}

// Behind the prompt it is the newest position; in the prompt, the last that is no padding.
function lastReal({ length, prompt, segments }: Row): number {
  if (length > prompt) return length - 1;
  return (segments.findLast(({ name }) => name !== "pad")?.end ?? length) - 1;
}

function unknown(received: unknown, what: string): InputError {
  const names = [...SEGMENT_NAMES, "last", "generated"].join(", ");
  return new InputError(
    `${what}: expected an index, a range such as "3:7", or one of ${names}; received ${JSON.stringify(received)}`,
  );
}

/** A selector as it is written on a command line: parts between commas. */
export const parsePositions = (text: string): Positions => text.split(",").map((part) => part.trim());
