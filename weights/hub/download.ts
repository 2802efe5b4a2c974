import { stat } from "node:fs/promises";
import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { INDEX, readShardIndex, SINGLE } from "../shard-index.js";
import { openFolder } from "../source.js";
import { CachedRepository, type Destination } from "./cache.js";
import { type HubConnection, HubUnavailableError, PATIENCE, type Patience } from "./connection.js";
import { type freeBytes, requireSpace } from "./disk-space.js";
import { fetchFile } from "./fetch-file.js";
import { commitOf, type HubFile, listFiles } from "./listing.js";
import { localDestination } from "./local-folder.js";
import { withLock } from "./lock.js";
import { smallFiles, weightFiles } from "./needed-files.js";
import { checkRepositoryName, checkRevision, isCommit } from "./repository.js";
import { type GivenSettings, hubSettings, type HubSettings, type Surroundings } from "./settings.js";

/** Files that come at the same time: enough to fill a line that one connection does not. */
const LANES = 4;

/** Bytes of the files that were missing: here, and in all. `file` is the one that moved last. */
export type DownloadProgress = { file: string; loadedBytes: number; totalBytes: number };

/** What is downloaded, where to, and who hears of it. */
export type DownloadOptions = GivenSettings & {
  /** A branch, a tag or a commit; default "main". */
  revision?: string | undefined;
  /** A folder for plain files; default: the cache that Python's huggingface_hub uses too. */
  dir?: string | undefined;
  onProgress?: ((progress: DownloadProgress) => void) | undefined;
  /** Hears of retries, of waiting for another process, and where a cached copy stands in for the Hub. */
  onNotice?: ((text: string) => void) | undefined;
  /** Ends it at once; what has arrived stays, and the next call goes on from there. */
  signal?: AbortSignal | undefined;
};

/** What tests put in place of the machine. */
export type DownloadTools = { around?: Surroundings; patience?: Patience; freeBytes?: typeof freeBytes };

/**
 * Makes the files of a model on the Hub available on disk and returns their folder: config, processor, tokenizer and safetensors
 * files of `repository` (`owner/name`), nothing else. Each is checked against its hash before it gets its name. Where the Hub
 * cannot be asked, or HF_HUB_OFFLINE forbids it, a whole copy in the cache will do. Throws `WeightsError`, and the signal's reason.
 */
export async function downloadModel(
  repository: string,
  options: DownloadOptions = {},
  tools: DownloadTools = {},
): Promise<string> {
  const { revision = "main", dir, onNotice = () => {}, signal } = options;
  checkRepositoryName(repository);
  checkRevision(revision);
  signal?.throwIfAborted();
  const settings = await hubSettings(options, tools.around);
  const cache = new CachedRepository(settings, repository);
  const found = dir === undefined ? await cached(cache, revision) : null;
  if (settings.offline) {
    if (found?.missing.length === 0) return found.folder;
    throw new WeightsError(
      `${repository}@${revision}: HF_HUB_OFFLINE forbids to ask the Hub, ${lacking(found, settings)}`,
    );
  }
  const hub: HubConnection = { ...settings, patience: tools.patience ?? PATIENCE, onNotice };
  const usable = found?.missing.length === 0 ? found.folder : null;
  const plan = await planOf(hub, repository, revision, usable !== null, signal).catch((error: unknown) => {
    if (usable === null || !(error instanceof HubUnavailableError)) throw error;
    onNotice(`${error.message}; using the copy in the cache, ${usable}`);
    return null;
  });
  if (plan === null) return usable!;
  const destination = await (dir === undefined
    ? cache.destination(plan.commit)
    : localDestination(dir, plan.commit, signal));
  await new Download(hub, repository, plan, destination, options, tools).run();
  if (dir === undefined) {
    await cache.remember(revision, plan.commit).catch((error: unknown) => {
      onNotice(`${repository}@${revision}: what it means now cannot be noted in the cache (${reasonOf(error)})`);
    });
  }
  return destination.root;
}

/** A commit and its files. */
type Plan = { commit: string; listing: ReadonlyMap<string, HubFile> };

/** With a copy at hand the Hub gets one try: nobody wants to wait for what is only perhaps newer. */
async function planOf(
  hub: HubConnection,
  repository: string,
  revision: string,
  atHand: boolean,
  signal: AbortSignal | undefined,
): Promise<Plan> {
  const asker = atHand ? { ...hub, patience: { ...hub.patience, failures: 1 } } : hub;
  const commit = isCommit(revision) ? revision : await commitOf(asker, { repository, revision }, signal);
  return { commit, listing: await listFiles(asker, repository, commit, signal) };
}

/** A snapshot that is in the cache, and what a model would still need. */
type Found = { folder: string; missing: string[] };

async function cached(cache: CachedRepository, revision: string): Promise<Found | null> {
  const commit = await cache.commitOf(revision);
  if (commit === null) return null;
  const path = cache.snapshot(commit);
  try {
    const folder = await openFolder(path);
    const tokenizer = (await folder.has("tokenizer.model")) ? [] : ["tokenizer.json"];
    const sharded = await folder.has(INDEX);
    const weights = sharded ? (await readShardIndex(folder)).weightMap.values() : [SINGLE];
    const missing: string[] = [];
    for (const file of new Set(["config.json", ...tokenizer, ...weights])) {
      if (!(await folder.has(file))) missing.push(file);
    }
    return { folder: path, missing };
  } catch (error) {
    if (error instanceof WeightsError) return null; // no such folder, or an index that is none
    throw error;
  }
}

function lacking(found: Found | null, { cacheDir }: HubSettings): string {
  const what =
    found === null ? `the cache ${cacheDir} has none of it` : `${found.folder} lacks ${found.missing.join(", ")}`;
  return `and ${what}; download it once without that variable, or give a local folder`;
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
    private readonly tools: DownloadTools,
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
    const small = smallFiles(listing, this.where);
    const index = listing.get(INDEX);
    if (index) await this.obtain(index);
    const shards = index ? (await readShardIndex(await openFolder(this.destination.root))).weightMap.values() : null;
    const weights = weightFiles(listing, shards, this.where);
    await this.measure([...small, ...weights]);
    // Weights last: a folder that has them has everything.
    await this.several(small);
    await this.several(weights);
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
