import { InputError } from "../base/errors.js";
import { type AskedLine, type BatchLine, isAsked, type RefusedLine } from "./batch-lines.js";

/** Lines that are answered at once, and lines that are refused with them. */
export type Group<Line = AskedLine> = { asked: Line[]; refused: RefusedLine[] };

/** Groups that are looked at together: so far ahead lines of like length are looked for. */
const WINDOW = 4;

/** Lengths that count as alike, in tokens: lines about one picture stay together, which is then encoded once. */
const ALIKE = 16;

/**
 * Lines in groups of `size`. Within a window of four groups those of like length come together, since the longest pads
 * the others; the order of the file is kept else. `lengthOf`: tokens of a line with its pictures; a line for which it
 * throws `InputError` is refused.
 */
export async function* groupsOf(
  lines: AsyncIterable<BatchLine>,
  size: number,
  lengthOf: (line: AskedLine) => number,
): AsyncGenerator<Group, void, void> {
  let window: { line: AskedLine; length: number }[] = [];
  let refused: RefusedLine[] = [];
  for await (const line of lines) {
    const length = isAsked(line) ? measured(line, lengthOf) : line.error;
    if (isAsked(line) && typeof length === "number") window.push({ line, length });
    else refused.push({ id: line.id, number: line.number, error: length as InputError });
    if (Math.max(window.length, refused.length) < WINDOW * size) continue;
    yield* inGroups(window, refused, size);
    [window, refused] = [[], []];
  }
  yield* inGroups(window, refused, size);
}

function measured(line: AskedLine, lengthOf: (line: AskedLine) => number): number | InputError {
  try {
    return lengthOf(line);
  } catch (error) {
    if (error instanceof InputError) return error;
    throw error;
  }
}

function* inGroups(
  window: readonly { line: AskedLine; length: number }[],
  refused: RefusedLine[],
  size: number,
): Generator<Group, void, void> {
  const alike = (length: number) => Math.ceil(length / ALIKE);
  const sorted = [...window].sort((a, b) => alike(a.length) - alike(b.length)).map(({ line }) => line);
  if (sorted.length === 0 && refused.length > 0) yield { asked: [], refused };
  for (let from = 0; from < sorted.length; from += size) {
    yield { asked: sorted.slice(from, from + size), refused: from === 0 ? refused : [] };
  }
}
