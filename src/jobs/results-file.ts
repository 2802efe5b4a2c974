import { type FileHandle, open } from "node:fs/promises";

import { crc32 } from "../../weights/crc32.js";
import { InputError } from "../base/errors.js";
import type { BatchResult } from "./batch-result.js";
import { type FileLine, readLines } from "./file-lines.js";

/**
 * The ids that have a line in a file of answers, each with the `promptMark` of its prompt; null where the line is an
 * error.
 */
export type DoneLines = ReadonlyMap<string, number | null>;

/** What is kept of a prompt to see that an answer is to the same one. */
export const promptMark = (prompt: string): number => crc32(Buffer.from(prompt));

/**
 * A file of answers, one JSON object a line, to which lines are added and nothing else. Its user holds the file's lock.
 */
export class ResultsFile {
  private constructor(
    private readonly file: string,
    private readonly handle: FileHandle,
    /** What the file held when it was opened. */
    readonly done: DoneLines,
    /** Bytes of an incomplete last line that were cut off. */
    readonly cut: number,
  ) {}

  /**
   * Opens or makes the file. A last line without its line break was not written to its end, and is cut off, where it
   * begins as an answer does. Throws `InputError` where the file cannot be written, and where it holds anything but
   * answers.
   */
  static async open(file: string): Promise<ResultsFile> {
    const handle = await open(file, "a+").catch((error: unknown) => {
      throw cannotBeWritten(file, error);
    });
    try {
      const found = await handle.stat();
      if (!found.isFile()) throw new InputError(`${file}: expected a regular file for the answers`);
      const { done, end } = await readResults(file);
      if (end < found.size) {
        await requireBegunResult(handle, end, file);
        await handle.truncate(end);
      }
      return new ResultsFile(file, handle, done, found.size - end);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Adds lines, and waits until they are on the disk. Throws `InputError` where they cannot be written. */
  async append(results: readonly BatchResult[]): Promise<void> {
    if (results.length === 0) return;
    try {
      await this.handle.appendFile(results.map((result) => `${JSON.stringify(result)}\n`).join(""));
      await this.handle.datasync();
    } catch (error) {
      throw cannotBeWritten(this.file, error);
    }
  }

  /** Closes the file. */
  close(): Promise<void> {
    return this.handle.close();
  }
}

/** What `JSON.stringify` begins every result with. */
const BEGINNING = '{"id":"';

/**
 * Throws `InputError` unless the file's last, incomplete line may be a result: another file without a line break would
 * be cut to nothing.
 */
async function requireBegunResult(handle: FileHandle, end: number, file: string): Promise<void> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(BEGINNING.length), 0, BEGINNING.length, end);
  if (BEGINNING.startsWith(buffer.toString("latin1", 0, bytesRead))) return;
  throw new InputError(`${file}: its last line is no answer of a batch; remove that line, or give another --out`);
}

async function readResults(file: string): Promise<{ done: Map<string, number | null>; end: number }> {
  const done = new Map<string, number | null>();
  let end = 0;
  for await (const line of readLines(file)) {
    if (!line.complete) break;
    const { id, prompt } = resultOn(line, file);
    done.set(id, prompt === undefined ? null : promptMark(prompt));
    end = line.end;
  }
  return { done, end };
}

function resultOn({ bytes, number }: FileLine, file: string): { id: string; prompt?: string } {
  const known = (value: unknown): value is { id: string; prompt?: string } => {
    const { id, prompt, text, error } = (value ?? {}) as Record<string, unknown>;
    const answer = typeof prompt === "string" && typeof text === "string";
    return typeof id === "string" && (answer || (typeof error === "object" && error !== null));
  };
  try {
    const value: unknown = JSON.parse(bytes?.toString() ?? "");
    if (known(value)) return value;
  } catch {
    // said below
  }
  throw new InputError(`${file}: line ${number} is no answer of a batch; remove that line, or give another --out`);
}

function cannotBeWritten(file: string, error: unknown): InputError {
  const reason = (error as NodeJS.ErrnoException).code ?? String(error);
  return new InputError(`${file}: the answers cannot be written (${reason})`, { cause: error });
}
