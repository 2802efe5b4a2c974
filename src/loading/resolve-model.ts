import { stat } from "node:fs/promises";

import { type HubOptions as AskingOptions, type HubTools } from "../../weights/hub/resolve-revision.js";
import { downloadModel } from "../../weights/hub/download.js";
import { HubSilentError } from "../../weights/hub/connection.js";
import { RepositoryNotFoundError } from "../../weights/hub/refusal.js";
import { openHubFolder } from "../../weights/hub/remote-folder.js";
import { isRepositoryName } from "../../weights/hub/repository.js";
import { WeightsError } from "../../weights/errors.js";
import type { Folder } from "../../weights/byte-source.js";
import { openFolder } from "../../weights/source.js";
import { InputError } from "../base/errors.js";
import type { LoadProgress } from "./load-network.js";
import { warn } from "../base/notice.js";
import { callback, described, either, oneOf, type OptionKinds, text } from "../base/options.js";

/**
 * Which version of a model on the Hugging Face Hub is meant, and who asks for it. Only for names such as
 * `google/paligemma2-3b-mix-224`.
 */
export type HubOptions = {
  /** A branch, a tag or a commit. Default "main". */
  revision?: string | undefined;
  /** An access token; false sends none. Default: HF_TOKEN, or the file that `hf auth login` writes. */
  token?: string | false | undefined;
  /**
   * Hears what does not stop the call: retries, a cached copy in place of the Hub, what of the files is not used.
   * Default: a warning of the process.
   */
  onNotice?: ((text: string) => void) | undefined;
};

/** Of each of them. */
export const HUB_KINDS: OptionKinds<HubOptions> = {
  revision: text,
  token: either(text, oneOf(false)),
  onNotice: callback,
};

/** Bytes that have come, and in all: first of the files that are missing of a model on the Hub, then of its weights. */
export type ModelProgress = LoadProgress & { phase: "download" | "load" };

type PlaceOptions = HubOptions & {
  onProgress?: ((progress: ModelProgress) => void) | undefined;
  signal?: AbortSignal | undefined;
};

/**
 * The path or URL of a model: `name` itself, or, where it has the form `owner/name` and nothing of that name lies here,
 * the folder of that repository on the Hub, which is downloaded into the cache as far as it is not there. Throws
 * `InputError` for a revision or token of what is no repository, what `downloadModel` throws, and the signal's reason
 * when aborted.
 */
export async function placeOf(name: string, options: PlaceOptions = {}, tools: HubTools = {}): Promise<string> {
  if (!(await isOnHub(name, options))) return name;
  const { onProgress } = options;
  const report = ({ loadedBytes, totalBytes }: LoadProgress): void =>
    onProgress?.({ phase: "download", loadedBytes, totalBytes });
  return neitherNor(name, downloadModel(name, { ...asking(options), onProgress: report }, tools));
}

/**
 * Opens a model as `placeOf` finds it, for its config and its headers: what is on the Hub alone is read there, by
 * ranges, and not downloaded. Throws as `placeOf` does.
 */
export async function openPlace(name: string, options: PlaceOptions = {}, tools: HubTools = {}): Promise<Folder> {
  if (!(await isOnHub(name, options))) return openFolder(name, options.signal);
  return neitherNor(name, openHubFolder(name, asking(options), tools));
}

/** Throws `InputError` that begins with `where` for a place of a model that is no text. */
export function requirePlace(where: string, place: unknown): asserts place is string {
  if (typeof place === "string") return;
  throw new InputError(`${where}: expected a path, an address or owner/name, received ${described(place)}`);
}

async function isOnHub(name: string, { revision, token }: PlaceOptions): Promise<boolean> {
  const here = await stat(name).catch(() => null);
  if (here === null && isRepositoryName(name)) return true;
  for (const [option, value] of Object.entries({ revision, token })) {
    if (value === undefined) continue;
    throw new InputError(`${option}: only a model on the Hub (owner/name) has one, and ${name} is none; leave it out`);
  }
  return false;
}

const asking = ({ revision, token, signal, onNotice }: PlaceOptions): AskingOptions => ({
  revision,
  token,
  signal,
  onNotice: onNotice ?? warn,
});

/** A mistyped path has the form of a repository's name: the error says what was found of both. */
async function neitherNor<T>(name: string, asked: Promise<T>): Promise<T> {
  return asked.catch((error: unknown) => {
    if (!(error instanceof RepositoryNotFoundError || error instanceof HubSilentError)) throw error;
    throw new WeightsError(`${name}: there is no such folder, and on the Hub: ${error.message}`, { cause: error });
  });
}
