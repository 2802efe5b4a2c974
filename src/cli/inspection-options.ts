import { type Command, Option } from "commander";

import { InputError } from "../base/errors.js";
import { decodeImage, type RawImage } from "../input/image/decode.js";
import type { Edit } from "../hooks/edit.js";
import { decodeText } from "../input/tokenizer/text-encoding.js";
import { readUserFile } from "../base/user-file.js";
import { readsFile } from "./declared-files.js";
import { addLoadOptions, type LoadFlags, picturesArgument } from "./options.js";

/** Most bytes of a file of edits: vectors of 28B in full, some hundreds of them. */
const MAX_EDITS_BYTES = 64e6;

/** The options of every command that looks into a run. */
export type InspectionFlags = LoadFlags & { prompt: string; edits?: string; json?: boolean };

/** Adds the pictures, `--prompt`, `--edits`, `--json` and the options of loading. */
export function addInspectionOptions(command: Command): Command {
  return addLoadOptions(command)
    .addArgument(picturesArgument())
    .requiredOption("--prompt <text>", "the prompt")
    .addOption(
      readsFile(
        new Option("--edits <file>", "JSON list of edits to make in the run, such as {hook, op, positions, heads}"),
      ),
    )
    .option("--json", "print the result as JSON");
}

/** Pictures and prompt as a question. */
export async function questionOf(
  images: readonly string[],
  prompt: string,
  { fetchPictures }: Pick<LoadFlags, "fetchPictures">,
): Promise<{ image: RawImage[]; prompt: string }> {
  return { image: await Promise.all(images.map((file) => decodeImage(file, "image", { fetchPictures }))), prompt };
}

/** The edits of a file; they are checked when they are used. Throws `InputError` when it is not JSON of a list. */
export async function readEdits(file: string | undefined): Promise<Edit[]> {
  if (file === undefined) return [];
  const where = `--edits ${file}`;
  const bytes = await readUserFile(file, { where, what: "a JSON file", limit: MAX_EDITS_BYTES });
  let edits: unknown;
  try {
    edits = JSON.parse(decodeText(bytes, where));
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${where}: expected a JSON file, ${(error as Error).message}`);
  }
  if (!Array.isArray(edits)) throw new InputError(`${where}: expected a list of edits`);
  return edits as Edit[];
}

/** Indices such as "3", "0,2" or "4:8", as a list. Throws `InputError` naming the flag. */
export function indicesFor(flag: string): (text: string) => number[] {
  return (text) =>
    text.split(",").flatMap((part) => {
      const range = /^(\d+):(\d+)$/.exec(part.trim());
      if (range && Number(range[1]) < Number(range[2])) {
        return Array.from({ length: Number(range[2]) - Number(range[1]) }, (_, i) => Number(range[1]) + i);
      }
      if (/^\d+$/.test(part.trim())) return [Number(part)];
      throw new InputError(`${flag}: expected indices such as 3, 0,2 or 4:8, received "${text}"`);
    });
}

/** Rows of text as columns of even width. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0))) ?? [];
  return (
    rows
      .map((row) =>
        row
          .map((cell, i) => cell.padEnd(widths[i]!))
          .join("  ")
          .trimEnd(),
      )
      .join("\n") + "\n"
  );
}
