import { reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";

/** A JSON object whose fields are not checked yet. Own properties only: look names up with `Object.entries` or a Map. */
export type JsonObject = Record<string, unknown>;

/** True for `{...}`: not for null, a list or a plain value. */
export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A value as an error message shows it: JSON, cut short. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** Decodes UTF-8; throws `WeightsError` naming `where` on bytes that are not UTF-8. A byte order mark is kept, so JSON refuses it. */
export function decodeUtf8(bytes: Uint8Array, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new WeightsError(`${where} is not UTF-8 text; the file is damaged or of another kind`);
  }
}

/** Parses JSON; throws `WeightsError` naming `where` when it is not valid. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new WeightsError(`${where} is not valid JSON (${reasonOf(error)})`);
  }
}

/** Parses JSON as `parseJson` does and also refuses an object that has one key twice, which JSON.parse would hide. */
export function parseStrictJson(text: string, where: string): unknown {
  const value = parseJson(text, where);
  const twice = duplicateKey(text);
  if (twice !== null)
    throw new WeightsError(`${where} has the key ${shown(twice)} twice; which one counts is not defined`);
  return value;
}

/** The first key that an object of `text` (valid JSON) holds twice, or null. */
function duplicateKey(text: string): string | null {
  const open: (Set<string> | null)[] = []; // one entry per open bracket; null for a list
  let last: string | null = null; // the string just read, a key if ":" follows
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/g)) {
    if (token === "{") open.push(new Set());
    else if (token === "[") open.push(null);
    else if (token === "}" || token === "]") open.pop();
    else if (token !== ":") last = token;
    else {
      const key = JSON.parse(last!) as string; // unescaped: "\u0061" and "a" are one key
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}
