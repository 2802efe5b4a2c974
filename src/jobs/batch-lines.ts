import { InputError } from "../base/errors.js";
import { type FileLine, MAX_LINE_BYTES } from "./file-lines.js";

/** A line that can be asked as far as its text says: pictures are files, as written. */
export type AskedLine = { id: string; number: number; prompt: string; images: string[] };

/** A line that cannot be asked, and why. */
export type RefusedLine = { id: string; number: number; error: InputError };

/** One line of a batch. */
export type BatchLine = AskedLine | RefusedLine;

/** Longest id, in UTF-16 units: an id is held in memory for every line. */
export const MAX_ID_LENGTH = 1024;

/** Whether a line can be asked. */
export const isAsked = (line: BatchLine): line is AskedLine => !("error" in line);

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads `{"id"?, "image": path | [paths], "prompt": text}`; other fields are passed over. The id is text or a whole
 * number, which becomes text; without one it is the number of the line. Null for a line of white space. Never throws:
 * what is wrong with a line is its own affair.
 */
export function parseLine(line: FileLine): BatchLine | null {
  const { number } = line;
  let id = String(number);
  try {
    const text = textOf(line);
    if (text.trim() === "") return null;
    const fields = objectOf(text);
    id = idOf(fields.id, id);
    return { id, number, prompt: promptOf(fields.prompt), images: imagesOf(fields.image) };
  } catch (error) {
    if (error instanceof InputError) return { id, number, error };
    throw error;
  }
}

function textOf({ bytes, number }: FileLine): string {
  if (bytes === null) throw new InputError(`line: expected at most ${MAX_LINE_BYTES} bytes, received more`);
  try {
    const text = UTF8.decode(bytes);
    return number === 1 ? text.replace(/^\uFEFF/, "") : text;
  } catch {
    throw new InputError("line: expected UTF-8, received other bytes; convert the file");
  }
}

function objectOf(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InputError(`line: expected a JSON object, received no JSON (${(error as Error).message})`);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new InputError(`line: expected a JSON object, received ${kindOf(value)}`);
}

function idOf(id: unknown, fallback: string): string {
  if (id === undefined) return fallback;
  if (typeof id === "string" && id.length > 0 && id.length <= MAX_ID_LENGTH) return id;
  if (Number.isSafeInteger(id)) return String(id);
  const received = typeof id === "string" ? `${id.length} characters` : kindOf(id);
  throw new InputError(`id: expected 1 to ${MAX_ID_LENGTH} characters or a whole number, received ${received}`);
}

function promptOf(prompt: unknown): string {
  if (typeof prompt === "string") return prompt;
  throw new InputError(`prompt: expected text, received ${kindOf(prompt)}`);
}

function imagesOf(image: unknown): string[] {
  const images: unknown[] = Array.isArray(image) ? image : [image];
  const wrong = images.findIndex((one) => typeof one !== "string" || one === "");
  if (images.length > 0 && wrong < 0) return images as string[];
  const received =
    images.length === 0 ? "an empty list" : images[wrong] === "" ? "an empty path" : kindOf(images[wrong]);
  throw new InputError(`image: expected a path or a list of paths, received ${received}`);
}

function kindOf(value: unknown): string {
  if (value === undefined) return "nothing";
  if (value === null) return "null";
  return Array.isArray(value) ? "a list" : `a JSON ${typeof value}`;
}
