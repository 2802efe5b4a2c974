import { allocate, checkRange } from "../bytes.js";
import { WeightsError } from "../errors.js";
import type { ByteSource, Folder } from "../byte-source.js";
import { finishFolder, MAX_WHOLE_FILE, openFolder } from "../source.js";
import { digestFor } from "./checksum.js";
import { type HubConnection, TransientError, withRetries } from "./connection.js";
import {
  checkHubOptions,
  HUB_OPTION_KINDS,
  consult,
  type HubOptions,
  type HubTools,
  type Plan,
} from "./resolve-revision.js";
import type { HubFile } from "./listing.js";
import { neededWeights } from "./needed-files.js";
import { expectStatus } from "./refusal.js";
import { rememberingSource } from "./remembering-source.js";
import { fileAddress } from "./repository.js";
import { ask, discard, eachPiece } from "./request.js";
import { StallWatch } from "./stall-watch.js";

/**
 * A model on the Hub as a folder that is read by ranges where it lies, for whoever wants its config and headers and not
 * its weights; nothing is stored. A whole copy of the same commit in the cache is read instead. Throws as
 * `downloadModel` does.
 */
export async function openHubFolder(
  repository: string,
  options: HubOptions = {},
  tools: HubTools = {},
): Promise<Folder> {
  checkHubOptions("openHubFolder", options, HUB_OPTION_KINDS);
  const { hub, cache, plan, usable } = await consult(repository, options, tools);
  if (plan === null) return openFolder(usable!);
  if (usable === cache.snapshot(plan.commit)) return openFolder(usable);
  const folder = remoteFolder(hub, repository, plan, options);
  await neededWeights(folder, plan.listing); // refuses what is no model, with what it is
  return folder;
}

/**
 * What a repository holds at a commit as a folder that is read by ranges. Its files throw `WeightsError`, and the
 * signal's reason when aborted.
 */
export function remoteFolder(
  hub: HubConnection,
  repository: string,
  { commit, listing }: Plan,
  { revision, signal }: Pick<HubOptions, "revision" | "signal">,
): Folder {
  const name = `${repository}@${commit}`;
  const plain = (path: string): ByteSource => {
    const file = listing.get(path);
    if (!file) throw new WeightsError(`${name}/${path}: there is no such file`);
    return remoteFile({ hub, repository, commit, signal }, file);
  };
  const opened = new Map<string, ByteSource>(); // what has been read of a file serves whoever opens it again
  return finishFolder({
    name,
    localPath: null,
    hub: {
      download: `paligemma download ${repository}${revision === undefined ? "" : ` --revision ${revision}`}`,
      addressOf: (path) => fileAddress(hub.endpoint, repository, commit, path),
    },
    list: async () => [...listing.keys()].filter((path) => !path.includes("/")).sort(),
    open: async (path) => {
      const source = opened.get(path) ?? rememberingSource(plain(path));
      opened.set(path, source);
      return source;
    },
    has: async (path) => listing.has(path),
    readBytes: async (path, limit = MAX_WHOLE_FILE) => {
      const source = plain(path);
      if (source.size > limit) {
        throw new WeightsError(`${source.name}: ${source.size} bytes, expected at most ${limit} for such a file`);
      }
      const bytes = await source.read(0, source.size);
      const file = listing.get(path)!;
      if (digestFor(file).update(bytes).digest("hex") === file.etag) return bytes;
      throw new WeightsError(`${source.name}: the bytes that came are not those of ${file.etag}; run it again`);
    },
  });
}

type Place = { hub: HubConnection; repository: string; commit: string; signal: AbortSignal | undefined };

function remoteFile(place: Place, file: HubFile): ByteSource {
  const { size } = file;
  const name = `${place.repository}@${place.commit}/${file.path}`;
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    checkRange(name, size, start, end);
    if (start === end) return new Uint8Array(0);
    return withRetries(place.hub, name, place.signal, () => readRange(place, file, name, [start, end]));
  };
  return { name, size, read, close: async () => {} };
}

/** One try at bytes `start` to `end`. Throws `TransientError` where another may do better. */
async function readRange(
  { hub, repository, commit, signal }: Place,
  { path, size }: HubFile,
  name: string,
  [start, end]: [number, number],
): Promise<Uint8Array> {
  const watch = new StallWatch(hub.patience.stall, signal);
  try {
    const address = fileAddress(hub.endpoint, repository, commit, path);
    const answer = await ask(hub, address, watch, () => ({ range: `bytes=${start}-${end - 1}` }));
    const { response, url } = answer;
    await expectStatus(answer, [200, 206], hub, { repository, revision: commit, file: path });
    const range = response.headers.get("content-range");
    if (response.status === 200 || range !== `bytes ${start}-${end - 1}/${size}`) {
      discard(response);
      if (response.status === 200) {
        // A model in an archive is only found by looking into it.
        const instead = path.endsWith(".npz")
          ? "fetch this file by other means and give its path"
          : "download the model instead";
        throw new WeightsError(`${name}: ${url.host} ignores Range requests; ${instead}`);
      }
      throw new WeightsError(`${name}: asked for bytes ${start} to ${end} of ${size}, ${url.host} sends "${range}"`);
    }
    const bytes = allocate(name, end - start);
    let at = 0;
    await eachPiece(answer, watch, (piece) => {
      if (at + piece.length > bytes.length) throw new TransientError(`${url.host} sent more than was asked for`);
      bytes.set(piece, at);
      at += piece.length;
    });
    if (at === bytes.length) return bytes;
    throw new TransientError(`${url.host} ended after ${at} of ${bytes.length} bytes`);
  } finally {
    watch.stop();
  }
}
