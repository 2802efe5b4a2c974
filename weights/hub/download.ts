import { stat } from "node:fs/promises";
import { reasonOf } from "../bytes.js";
import { SINGLE } from "../shard-index.js";
import type { Folder } from "../byte-source.js";
import { openFolder } from "../source.js";
import { weightFileNames } from "../weight-file-names.js";
import type { Destination } from "./cache.js";
import type { HubConnection } from "./connection.js";
import { callback, type OptionKinds, text } from "../options.js";
import {
  checkHubOptions,
  consult,
  HUB_OPTION_KINDS,
  type HubOptions,
  type HubTools,
  type Plan,
} from "./resolve-revision.js";
import { requireSpace } from "./disk-space.js";
import { fetchFile } from "./fetch-file.js";
import type { HubFile } from "./listing.js";
import { localDestination } from "./local-folder.js";
import { withLock } from "./lock.js";
import { indexFile, neededWeights, smallFiles, weightFiles } from "./needed-files.js";
import { remoteFolder } from "./remote-folder.js";

/** Files that come at the same time: enough to fill a line that one connection does not. */
const LANES = 4;

/** Bytes of the files that were missing: here, and in all. `file` is the one that moved last. */
export type DownloadProgress = { file: string; loadedBytes: number; totalBytes: number };

/** What is downloaded, where to, and who hears of it. */
export type DownloadOptions = HubOptions & {
  /** A folder for plain files; default: the cache that Python's huggingface_hub uses too. */
  dir?: string | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
};

const KINDS: OptionKinds<DownloadOptions> = { ...HUB_OPTION_KINDS, dir: text, onProgress: callback };

/**
 * Makes the files of a model, or of an adapter, on the Hub available on disk and returns their folder: config,
 * processor and tokenizer files of `repository` (`owner/name`), its weights as `findWeights` chooses them, an adapter's
 * config, and nothing else. Each is checked against its hash before it gets its name. Where the Hub cannot be asked, or
 * HF_HUB_OFFLINE forbids it, a whole copy in the cache will do. Throws `WeightsError`, also for an unknown option, and
 * the signal's reason when aborted: what has arrived stays, and the next call goes on from there.
 */
export async function downloadModel(
  repository: string,
  options: DownloadOptions = {},
  tools: HubTools = {},
): Promise<string> {
  checkHubOptions("downloadModel", options, KINDS);
  const { revision = "main", dir, signal } = options;
  const { hub, cache, plan, usable } = await consult(repository, options, tools, dir === undefined);
  if (plan === null) return usable!;
  const destination = await (dir === undefined
    ? cache.destination(plan.commit)
    : localDestination(dir, plan.commit, signal));
  await new Download(hub, repository, plan, destination, options, tools).run();
  if (dir === undefined) {
    await cache.remember(revision, plan.commit).catch((error: unknown) => {
      hub.onNotice(`${repository}@${revision}: what it means now cannot be noted in the cache (${reasonOf(error)})`);
    });
  }
  return destination.root;
}

/** The files of one plan on their way. */
class Download {
  private readonly abort = new AbortController();
  private readonly where: string;
  /** Bytes that are there of each file that was missing. */
  private readonly loaded = new Map<string, number>();
  private totalBytes = 0;

  constructor(
    private readonly hub: HubConnection,
    private readonly repository: string,
    private readonly plan: Plan,
    private readonly destination: Destination,
    private readonly options: DownloadOptions,
    private readonly tools: HubTools,
  ) {
    this.where = `${repository}@${plan.commit}`;
  }

  async run(): Promise<void> {
    const outer = this.options.signal;
    outer?.throwIfAborted();
    const onAbort = (): void => this.abort.abort(outer!.reason);
    outer?.addEventListener("abort", onAbort, { once: true });
    try {
      await this.all();
    } finally {
      outer?.removeEventListener("abort", onAbort);
    }
  }

  private async all(): Promise<void> {
    const { listing } = this.plan;
    const found = await neededWeights(this.folder(), listing);
    const index = indexFile(listing, found);
    if (index) await this.obtain(index);
    const names = index
      ? await weightFileNames(await openFolder(this.destination.root), found!)
      : [found?.file ?? SINGLE];
    const weights = weightFiles(listing, found, names, this.where);
    const small = smallFiles(listing);
    await this.measure([...small, ...weights]);
    // Weights last: a folder that has them has everything.
    await this.several(small);
    await this.several(weights);
  }

  /** The repository before it is here: what is to be looked into is read by ranges, but for what is whole already. */
  private folder(): Folder {
    const { hub, repository, plan, destination } = this;
    const remote = remoteFolder(hub, repository, plan, this.options);
    const open = async (path: string) => {
      const file = plan.listing.get(path);
      const isHere = file !== undefined && (await destination.has(file));
      return isHere ? (await openFolder(destination.root)).open(path) : remote.open(path);
    };
    return { ...remote, open };
  }

  /** Counts what is missing, and refuses to begin where the disk cannot hold it. */
  private async measure(files: readonly HubFile[]): Promise<void> {
    for (const file of files) {
      if (await this.destination.has(file)) continue;
      this.totalBytes += file.size;
      const partial = await stat(this.destination.partial(file)).catch(() => null);
      this.loaded.set(file.path, Math.min(partial?.size ?? 0, file.size));
    }
    await requireSpace(this.destination.root, this.totalBytes - this.loadedBytes(), this.tools.freeBytes);
  }

  /** A few at a time; the first that fails stops the others. */
  private async several(files: readonly HubFile[]): Promise<void> {
    const waiting = [...files];
    const lane = async (): Promise<void> => {
      for (let file = waiting.shift(); file; file = waiting.shift()) {
        try {
          await this.obtain(file);
        } catch (error) {
          this.abort.abort(error);
          throw error;
        }
      }
    };
    const ended = await Promise.allSettled(Array.from({ length: LANES }, lane));
    if (ended.some(({ status }) => status === "rejected")) throw this.abort.signal.reason;
  }

  /** One file, by whoever has its lock: who waited finds it there. */
  private async obtain(file: HubFile): Promise<void> {
    const { signal } = this.abort;
    signal.throwIfAborted();
    const { destination, hub } = this;
    if (await destination.has(file)) return this.report(file, file.size);
    const onWait = (holder: string): void => hub.onNotice(`${file.path}: ${holder} is downloading it; waiting`);
    await withLock(destination.lock(file), { patience: hub.patience, signal, onWait }, async () => {
      if (await destination.has(file)) return this.report(file, file.size);
      const asked = { repository: this.repository, revision: this.plan.commit, file: file.path };
      const onLength = (bytes: number): void => this.report(file, bytes);
      await fetchFile(hub, asked, file, destination.partial(file), { signal, onLength });
      await destination.accept(file);
    });
  }

  private report({ path }: HubFile, bytes: number): void {
    if (!this.loaded.has(path)) return; // it was there all along, or is the index before anything is counted
    this.loaded.set(path, bytes);
    this.options.onProgress?.({ file: path, loadedBytes: this.loadedBytes(), totalBytes: this.totalBytes });
  }

  private loadedBytes(): number {
    return [...this.loaded.values()].reduce((sum, bytes) => sum + bytes, 0);
  }
}
