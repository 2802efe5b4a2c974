import { runInNewContext } from "node:vm";

import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { shown } from "../json.js";
import { MatchBudget } from "./match-budget.js";

/**
 * Longest expression that is read: the longest that trainers write, with all modules of a model by name, is far below
 * it.
 */
const MAX_LENGTH = 200_000;

/** Escapes by a letter that mean the same to both languages. */
const SAME_ESCAPES = /[dDwWsSbBnrtfv]/;

/** A group's opening behind "(" that both languages have. */
const SAME_GROUP = /^\?(?::|=|!|<=|<!)/;

/**
 * An expression of Python's `re` in JavaScript's notation. Throws `WeightsError` naming `where` for what has no
 * counterpart: inline flags, back references, atomic groups, possessive quantifiers, unknown escapes.
 */
export function fromPython(source: string, where: string): string {
  if (source.length > MAX_LENGTH) throw new WeightsError(`${where}: ${source.length} characters are too long`);
  let [out, at, inClass] = ["", 0, false];
  const refused = (what: string) => new WeightsError(`${where}: ${shown(source)}: ${what} cannot be read here`);
  while (at < source.length) {
    const rest = source.slice(at, at + 64);
    const [text, length] = inClass ? insideClass(rest, refused) : outsideClass(rest, refused);
    if (rest[0] === "[" && !inClass) inClass = true;
    else if (rest[0] === "]") inClass = false;
    out += text;
    at += length;
  }
  if (inClass) throw refused("a class without an end");
  try {
    new RegExp(out);
  } catch (error) {
    throw new WeightsError(`${where}: ${shown(source)} is no regular expression (${reasonOf(error)})`);
  }
  return out;
}

type Refused = (what: string) => WeightsError;
type Piece = [text: string, length: number];

function outsideClass(rest: string, refused: Refused): Piece {
  if (rest[0] === "\\") return escape(rest, refused, { A: "^", Z: "$" });
  // Where a class starts with "]", Python means that character, and JavaScript an empty class.
  const opening = /^\[\^?\]?/.exec(rest)?.[0];
  if (opening) return [opening.replace("]", "\\]"), opening.length];
  const upTo = /^\{,(\d+)\}/.exec(rest);
  if (upTo) return [`{0,${upTo[1]}}`, upTo[0].length];
  if (!rest.startsWith("(?") || SAME_GROUP.test(rest.slice(1))) return [rest[0], 1];
  const named = /^\(\?P<\w+>/.exec(rest);
  if (named) return ["(", named[0].length]; // nothing asks for its name
  throw refused(`the group ${shown(rest.slice(0, 4))}`);
}

function insideClass(rest: string, refused: Refused): Piece {
  return rest[0] === "\\" ? escape(rest, refused, {}) : [rest[0], 1];
}

function escape(rest: string, refused: Refused, others: Record<string, string>): Piece {
  const letter = rest[1] ?? "";
  const number = /^\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})/.exec(rest)?.[0];
  if (number) return [number, number.length];
  if (Object.hasOwn(others, letter)) return [others[letter], 2];
  if (SAME_ESCAPES.test(letter) || /[^0-9A-Za-z]/.test(letter)) return [`\\${letter}`, 2];
  throw refused(`the escape ${shown(`\\${letter}`)}`);
}

/** An expression in Python's notation, and what errors call it. */
export type PythonPattern = { source: string; where: string };

/**
 * What each expression finds at the start of each name, as `re.match` does: null, or the text of its last group (""
 * without one). Throws `WeightsError` for an expression that is not read, and when they take longer than `budget` has
 * left: the names are short, the expressions come from strangers.
 */
export function matchStarts(
  patterns: readonly PythonPattern[],
  names: readonly string[],
  budget = new MatchBudget(),
): (string | null)[][] {
  if (patterns.length === 0) return [];
  return budget.spend(patterns[0].where, (left) => matchWithin(patterns, names, left, budget));
}

function matchWithin(
  patterns: readonly PythonPattern[],
  names: readonly string[],
  timeout: number,
  budget: MatchBudget,
): (string | null)[][] {
  const sources = patterns.map(({ source, where }) => `^(?:${fromPython(source, where)})`);
  const code = `JSON.stringify(sources.map((source) => {
    const pattern = new RegExp(source);
    return names.map((name) => { const found = pattern.exec(name); return found && (found.length > 1 ? found.at(-1) ?? "" : ""); });
  }))`;
  try {
    // In a context of its own because that alone has a limit of time, which also stops an expression at work.
    const context = { sources, names: [...names] };
    return JSON.parse(runInNewContext(code, context, { timeout }) as string) as (string | null)[][];
  } catch (error) {
    const where = patterns[0].where;
    // Together with what is put around it, or once it is compiled for a name, an expression may be too large for the
    // engine.
    if ((error as { code?: string }).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") {
      throw new WeightsError(`${where}: its regular expressions cannot be used (${reasonOf(error)})`);
    }
    throw budget.exceeded(where);
  }
}
