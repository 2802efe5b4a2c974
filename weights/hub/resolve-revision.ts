import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../adapter/adapter-file.js";
import { WeightsError } from "../errors.js";
import { abortSignal, callback, either, faultOfOptions, type Kind, oneOf, type OptionKinds, text } from "../options.js";
import { findWeights, type FoundWeights } from "../find-weights.js";
import type { Folder } from "../byte-source.js";
import { openFolder } from "../source.js";
import { weightFileNames } from "../weight-file-names.js";
import { CachedRepository } from "./cache.js";
import { type HubConnection, HubSilentError, HubUnavailableError, PATIENCE, type Patience } from "./connection.js";
import type { freeBytes } from "./disk-space.js";
import { commitOf, type HubFile, listFiles } from "./listing.js";
import { checkRepositoryName, checkRevision, isCommit } from "./repository.js";
import { type GivenSettings, hubSettings, type HubSettings, type Surroundings } from "./settings.js";

/** Which version of a repository is meant, and who asks for it. */
export type HubOptions = GivenSettings & {
  /** A branch, a tag or a commit; default "main". */
  revision?: string | undefined;
  /** Hears of retries, of waiting for another process, and where a cached copy stands in for the Hub. */
  onNotice?: ((text: string) => void) | undefined;
  /** Ends it at once. */
  signal?: AbortSignal | undefined;
};

/** Of each of them. */
export const HUB_OPTION_KINDS: OptionKinds<HubOptions> = {
  token: either(text, oneOf(false)),
  cacheDir: text,
  revision: text,
  onNotice: callback,
  signal: abortSignal,
};

/** Throws `WeightsError` that names an unknown option with the nearest known one, or one of another kind. */
export function checkHubOptions(where: string, options: object, kinds: Readonly<Record<string, Kind>>): void {
  const fault = faultOfOptions(where, options, kinds);
  if (fault !== null) throw new WeightsError(fault);
}

/** What tests put in place of the machine. */
export type HubTools = { around?: Surroundings; patience?: Patience; freeBytes?: typeof freeBytes };

/** What a repository holds at a commit. */
export type Plan = { readonly commit: string; readonly listing: ReadonlyMap<string, HubFile> };

/** What the Hub and the cache say about a revision: at least one of `plan` and `usable` is there. */
export type Consulted = {
  readonly hub: HubConnection;
  readonly cache: CachedRepository;
  /** As the Hub lists it now; null where it could not be asked, or must not. */
  readonly plan: Plan | null;
  /** The folder of a whole copy in the cache, perhaps of an older commit. */
  readonly usable: string | null;
};

/**
 * Asks the Hub what a revision of `repository` holds, and the cache what it has of it. Without an answer, or where
 * HF_HUB_OFFLINE forbids to ask, a whole copy in the cache will do; `anyCopy` false demands an answer. Throws
 * `WeightsError` where there is neither, and for names that are none; the signal's reason when aborted.
 */
export async function consult(
  repository: string,
  options: HubOptions,
  tools: HubTools,
  anyCopy = true,
): Promise<Consulted> {
  const { revision = "main", onNotice = () => {}, signal } = options;
  checkRepositoryName(repository);
  checkRevision(revision);
  signal?.throwIfAborted();
  const settings = await hubSettings(options, tools.around);
  const cache = new CachedRepository(settings, repository);
  const hub: HubConnection = { ...settings, patience: tools.patience ?? PATIENCE, onNotice };
  const found = anyCopy ? await cached(cache, revision) : null;
  const usable = found?.missing.length === 0 ? found.folder : null;
  if (settings.offline) {
    if (usable !== null) return { hub, cache, plan: null, usable };
    const why = anyCopy ? lacking(found, settings) : "and nobody else knows what the folder must hold";
    throw new HubSilentError(`${repository}@${revision}: HF_HUB_OFFLINE forbids to ask the Hub, ${why}`);
  }
  const plan = await planOf(hub, repository, revision, usable !== null, signal).catch((error: unknown) => {
    if (usable === null || !(error instanceof HubUnavailableError)) throw error;
    onNotice(`${error.message}; using the copy in the cache, ${usable}`);
    return null;
  });
  return { hub, cache, plan, usable };
}

/**
 * With a copy at hand, or where nothing was ever heard of the host, the Hub gets one try: the name may be no
 * repository's.
 */
async function planOf(
  hub: HubConnection,
  repository: string,
  revision: string,
  atHand: boolean,
  signal: AbortSignal | undefined,
): Promise<Plan> {
  const failures = atHand ? 1 : hub.patience.failures;
  const asker = { ...hub, patience: { ...hub.patience, failures, unreachable: 1 } };
  const commit = isCommit(revision) ? revision : await commitOf(asker, { repository, revision }, signal);
  return { commit, listing: await listFiles(asker, repository, commit, signal) };
}

/** A snapshot that is in the cache, and what a model would still need. */
type Found = { folder: string; missing: string[] };

async function cached(cache: CachedRepository, revision: string): Promise<Found | null> {
  const commit = await cache.commitOf(revision);
  return commit === null ? null : inspected(cache.snapshot(commit));
}

/** What a folder lacks of a model or an adapter; null where it is none, or has an index that is none. */
async function inspected(path: string): Promise<Found | null> {
  try {
    const folder = await openFolder(path);
    const found = await findWeights(folder);
    if (found === null && (await folder.has(ADAPTER_CONFIG))) {
      return { folder: path, missing: (await folder.has(ADAPTER_WEIGHTS)) ? [] : [ADAPTER_WEIGHTS] };
    }
    const weights = found === null ? [] : await weightFileNames(folder, found);
    const missing: string[] = [];
    for (const file of new Set([...(await besideWeights(folder, found)), ...weights])) {
      if (!(await folder.has(file))) missing.push(file);
    }
    return { folder: path, missing: found === null ? [...missing, "its weights"] : missing };
  } catch (error) {
    if (error instanceof WeightsError) return null;
    throw error;
  }
}

/**
 * What must lie beside the weights. An archive may come alone, and a preset without a tokenizer: weights come last, so
 * that none is expected.
 */
async function besideWeights(folder: Folder, found: FoundWeights | null): Promise<string[]> {
  if (found?.form === "big_vision") return [];
  if (found?.form === "keras" || (await folder.has("tokenizer.model"))) return ["config.json"];
  return ["config.json", "tokenizer.json"];
}

function lacking(found: Found | null, { cacheDir }: HubSettings): string {
  const what =
    found === null ? `the cache ${cacheDir} has none of it` : `${found.folder} lacks ${found.missing.join(", ")}`;
  return `and ${what}; download it once without that variable, or give a local folder`;
}
