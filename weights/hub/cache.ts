import { copyFile, mkdir, readdir, rename, stat, symlink, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { safeSegments } from "../file-name.js";
import { readNote } from "../plain-file.js";
import { withTemporary } from "../temporary.js";
import { replaceFile } from "../write-file.js";
import type { HubFile } from "./listing.js";
import { isCommit } from "./repository.js";
import type { HubSettings } from "./settings.js";

/** Where the files of one commit go. Paths come from checked names only. */
export interface Destination {
  /** The folder that is a model's at the end. */
  readonly root: string;
  /** What has arrived of a file. */
  partial(file: HubFile): string;
  /** The lock of whoever writes a file. */
  lock(file: HubFile): string;
  /** Whether the file is there and whole; puts it into the folder where only that is missing. */
  has(file: HubFile): Promise<boolean>;
  /** Puts a whole, checked partial into its place. */
  accept(file: HubFile): Promise<void>;
}

/** Marks a cache for programs that make backups. Source: https://bford.info/cachedir/ */
const CACHEDIR_TAG =
  "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of downloads, see https://bford.info/cachedir/\n";

/**
 * One repository in the cache that huggingface_hub (Python) and others share: `models--owner--name/blobs/{etag}`,
 * `snapshots/{commit}/{path}` linked to them, `refs/{revision}` with a commit in it. Partials and locks bear names of
 * our own: others append to theirs, or lock by other means. Source: huggingface_hub 2.4, file_download.py.
 */
export class CachedRepository {
  private readonly root: string;
  private readonly locks: string;

  constructor(
    private readonly settings: Pick<HubSettings, "cacheDir" | "symlinks">,
    repository: string,
  ) {
    const folder = `models--${repository.replace("/", "--")}`;
    this.root = join(settings.cacheDir, folder);
    this.locks = join(settings.cacheDir, ".locks", folder);
  }

  snapshot(commit: string): string {
    return join(this.root, "snapshots", commit);
  }

  /** The folders of all commits that are here, whole or not. */
  async snapshots(): Promise<string[]> {
    const commits = await readdir(join(this.root, "snapshots")).catch(() => []);
    return commits.filter(isCommit).map((commit) => this.snapshot(commit));
  }

  /** The commit that a revision meant when it was last downloaded; null where it never was. */
  async commitOf(revision: string): Promise<string | null> {
    if (isCommit(revision)) return revision;
    const text = await readNote(this.ref(revision)).catch(() => "");
    return isCommit(text.trim()) ? text.trim() : null;
  }

  /** Notes what a revision means now; whoever reads it meanwhile reads the old or the new. */
  async remember(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commitOf(revision)) === commit) return;
    const path = this.ref(revision);
    await mkdir(dirname(path), { recursive: true });
    await replaceFile(path, [Buffer.from(commit)]);
  }

  private ref(revision: string): string {
    return join(this.root, "refs", ...safeSegments("revision", revision));
  }

  /** The snapshot of a commit as a destination; makes its folders. Throws `WeightsError` where that fails. */
  async destination(commit: string): Promise<Destination> {
    const root = this.snapshot(commit);
    const blob = ({ etag }: HubFile): string => join(this.root, "blobs", etag);
    const pointer = ({ path }: HubFile): string => join(root, ...safeSegments(root, path));
    try {
      await mkdir(join(this.root, "blobs"), { recursive: true });
      await mkdir(root, { recursive: true });
      await writeFile(join(this.settings.cacheDir, "CACHEDIR.TAG"), CACHEDIR_TAG, { flag: "wx" }).catch(() => {});
    } catch (error) {
      throw new WeightsError(`${this.settings.cacheDir}: the cache cannot be written (${reasonOf(error)})`);
    }
    const partial = (file: HubFile): string => `${blob(file)}.paligemma.incomplete`;
    return {
      root,
      partial,
      lock: ({ etag }) => join(this.locks, `${etag}.paligemma.lock`),
      has: async (file) => {
        if (await isWhole(pointer(file), file)) return true;
        if (!(await isWhole(blob(file), file))) return false;
        await this.point(pointer(file), blob(file), false);
        return true;
      },
      accept: async (file) => {
        await rename(partial(file), blob(file));
        await this.point(pointer(file), blob(file), true);
      },
    };
  }

  /**
   * Makes a snapshot's link; where there are no links, `fresh` blobs are moved there, for nobody else has them, and
   * others copied.
   */
  private async point(pointer: string, blob: string, fresh: boolean): Promise<void> {
    await mkdir(dirname(pointer), { recursive: true });
    // Not in the snapshot: who is killed here would leave it among the model's files.
    await withTemporary(join(this.root, "blobs", basename(pointer)), async (temporary) => {
      if (!(this.settings.symlinks && (await linked(relative(dirname(pointer), blob), temporary)))) {
        if (fresh) await rename(blob, temporary);
        else await copyFile(blob, temporary);
      }
      await rename(temporary, pointer);
    });
  }
}

async function linked(target: string, path: string): Promise<boolean> {
  return symlink(target, path).then(
    () => true,
    () => false, // Windows without the right to make links, and file systems without them
  );
}

/** Its content was checked when it was stored; a length costs nothing to look at again. */
export async function isWhole(path: string, { size }: HubFile): Promise<boolean> {
  const info = await stat(path).catch(() => null);
  return info !== null && info.isFile() && info.size === size;
}
