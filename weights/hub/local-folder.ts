import { createHash } from "node:crypto";
import { mkdir, rename, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { safeSegments } from "../file-name.js";
import { readNote } from "../plain-file.js";
import { type Destination, isWhole } from "./cache.js";
import { replaceFile } from "../write-file.js";
import { digestFor, feedFile } from "./checksum.js";
import type { HubFile } from "./listing.js";

/**
 * A plain folder of files as a destination. What each file is stands in `.cache/huggingface/download/{path}.metadata`:
 * commit, etag and time in seconds, as huggingface_hub writes it; without that a file's hash is taken. Throws
 * `WeightsError` where the folder cannot be made. Source: huggingface_hub 2.4, _local_folder.py.
 */
export async function localDestination(root: string, commit: string, signal?: AbortSignal): Promise<Destination> {
  const notes = join(root, ".cache", "huggingface");
  try {
    await mkdir(notes, { recursive: true });
    await writeFile(join(notes, ".gitignore"), "*", { flag: "wx" }).catch(() => {});
  } catch (error) {
    throw new WeightsError(`${root}: cannot be written (${reasonOf(error)})`);
  }
  const place = ({ path }: HubFile): string => join(root, ...safeSegments(root, path));
  const note = ({ path }: HubFile, ending: string): string =>
    `${join(notes, "download", ...safeSegments(root, path))}.${ending}`;
  // Not longer for long names: the etag alone tells versions apart.
  const partial = (file: HubFile): string => {
    const short = createHash("sha1").update(file.path).digest("base64url");
    return join(notes, "download", `${short}.${file.etag}.paligemma.incomplete`);
  };
  const write = async (file: HubFile): Promise<void> => {
    const path = note(file, "metadata");
    await mkdir(dirname(path), { recursive: true });
    await replaceFile(path, [Buffer.from(`${commit}\n${file.etag}\n${Date.now() / 1000}\n`)]);
  };
  const others = new Map<string, number>(); // files that are known to be others, by their time
  return {
    root,
    partial,
    lock: (file) => note(file, "paligemma.lock"),
    has: async (file) => {
      if (!(await isWhole(place(file), file))) return false;
      if ((await notedEtag(note(file, "metadata"), place(file))) === file.etag) return true;
      const { mtimeMs } = await stat(place(file));
      if (others.get(file.path) === mtimeMs) return false;
      const digest = digestFor(file);
      await feedFile(place(file), digest, signal);
      const same = digest.digest("hex") === file.etag;
      if (same) await write(file);
      else others.set(file.path, mtimeMs);
      return same;
    },
    accept: async (file) => {
      await mkdir(dirname(place(file)), { recursive: true });
      await rename(partial(file), place(file));
      await write(file);
    },
  };
}

/** The etag that a file's note gives; null where there is none or the file is newer than it. */
async function notedEtag(note: string, file: string): Promise<string | null> {
  const [, etag, time] = (await readNote(note).catch(() => "")).split("\n");
  const seconds = Number.parseFloat(time ?? "");
  const { mtimeMs } = await stat(file);
  return mtimeMs / 1000 - 1 <= seconds ? (etag ?? null) : null; // a second for coarse clocks, as Python's client does
}
