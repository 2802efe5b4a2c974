import { reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";
import { kindOfStart } from "./foreign-file.js";

/**
 * A JSON object whose fields are not checked yet. Own properties only: look names up with `Object.entries` or a Map.
 */
export type JsonObject = Record<string, unknown>;

/** True for `{...}`: not for null, a list or a plain value. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A value as an error message shows it: JSON, cut short. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/**
 * Decodes UTF-8; throws `WeightsError` naming `where` on bytes that are not UTF-8. A byte order mark is kept, so JSON
 * refuses it.
 */
export function decodeUtf8(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new WeightsError(`${where} is not UTF-8 text; the file is damaged or of another kind`);
  }
}

/**
 * Deepest nesting that is read: what models bring has less than 10, and a program that follows it by calling itself has
 * an end.
 */
export const MAX_JSON_DEPTH = 100;

/**
 * Parses JSON; throws `WeightsError` naming `where` when it is not valid, or nested more than `MAX_JSON_DEPTH` deep.
 */
export function parseJson(text: string, where: string): unknown {
  return parsed(text, where, false);
}

/** Parses JSON as `parseJson` does and also refuses an object that has one key twice, which JSON.parse would hide. */
export function parseStrictJson(text: string, where: string): unknown {
  return parsed(text, where, true);
}

function parsed(text: string, where: string, strict: boolean): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const kind = /^\s*[[{]/.test(text) ? null : kindOfStart(new TextEncoder().encode(text.slice(0, 64)));
    throw new WeightsError(
      kind === null ? `${where} is not valid JSON (${reasonOf(error)})` : `${where}: expected JSON, found ${kind}`,
    );
  }
  const fault = structuralFault(text, strict);
  if (fault !== null) throw new WeightsError(`${where} ${fault}`);
  return value;
}

/**
 * What is wrong with `text` (valid JSON) that JSON.parse lets pass, or null: its depth, and, strictly, a key that an
 * object has twice.
 */
function structuralFault(text: string, strict: boolean): string | null {
  const open: (Set<string> | null)[] = []; // one entry per open bracket; null for a list
  let last = ""; // the string just read, as it is written: a key if ":" follows
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "{" || char === "[") {
      if (open.push(char === "{" ? new Set() : null) > MAX_JSON_DEPTH) {
        return `is nested more than ${MAX_JSON_DEPTH} deep; no file of a model is`;
      }
    } else if (char === "}" || char === "]") open.pop();
    else if (char === '"') {
      const end = endOfString(text, at);
      if (strict) last = text.slice(at, end);
      at = end - 1;
    } else if (char === ":" && strict) {
      const key = JSON.parse(last) as string; // unescaped: "\u0061" and "a" are one key
      const keys = open.at(-1)!;
      if (keys.has(key)) return `has the key ${shown(key)} twice; which one counts is not defined`;
      keys.add(key);
    }
  }
  return null;
}

/** Behind the string that starts at `start`. No expression: those have no room for strings of many megabytes. */
function endOfString(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); ; end = text.indexOf('"', end + 1)) {
    let slashes = 0;
    while (text[end - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return end + 1;
  }
}
