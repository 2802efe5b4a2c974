import { joinBytes } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { safeSegments } from "../file-name.js";
import { decodeUtf8, isObject, parseJson, shown } from "../json.js";
import { type HubConnection, withRetries } from "./connection.js";
import { type Asked, expectStatus } from "./refusal.js";
import { apiOf, isCommit } from "./repository.js";
import { ask, eachPiece, type HubAnswer } from "./request.js";
import { StallWatch } from "./stall-watch.js";

/** Longest page of a listing, and most pages: a thousand files take a quarter of a megabyte. */
const MAX_PAGE_BYTES = 2 ** 24;
const MAX_PAGES = 20;

/**
 * A file of a repository. `etag` is the SHA-256 of its bytes for large files, git's SHA-1 of it as a blob for the
 * others.
 */
export interface HubFile {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
}

/**
 * The commit that a branch, a tag or a short hash means now. Throws what `expectStatus` throws, and `WeightsError` for
 * no commit.
 */
export async function commitOf(hub: HubConnection, asked: Asked, signal?: AbortSignal): Promise<string> {
  const address = `${apiOf(hub.endpoint, asked.repository)}/revision/${encodeURIComponent(asked.revision)}`;
  const { json } = await readJson(hub, address, asked, signal);
  const commit = isObject(json) ? json.sha : undefined;
  if (typeof commit === "string" && isCommit(commit)) return commit;
  throw new WeightsError(
    `${asked.repository}@${asked.revision}: the Hub names the commit ${shown(commit)}, expected 40 hex digits`,
  );
}

/**
 * Every file of a commit by its path, without those whose names not every system can hold. Throws what `expectStatus`
 * throws, and `WeightsError` for a listing with a path that could leave the folder, a path that comes twice, or a size
 * or hash that is none.
 */
export async function listFiles(
  hub: HubConnection,
  repository: string,
  commit: string,
  signal?: AbortSignal,
): Promise<Map<string, HubFile>> {
  const asked = { repository, revision: commit };
  const where = `listing of ${repository}@${commit}`;
  const files = new Map<string, HubFile>();
  const address = new URL(`${apiOf(hub.endpoint, repository)}/tree/${commit}?recursive=true`);
  for (let pages = 0; ; pages++) {
    if (pages === MAX_PAGES) throw new WeightsError(`${where}: longer than ${MAX_PAGES} pages`);
    const { json, answer } = await readJson(hub, address.href, asked, signal);
    if (!Array.isArray(json)) throw new WeightsError(`${where}: expected a list, received ${shown(json)}`);
    for (const entry of json) {
      const file = fileOf(entry, where);
      if (file === null) continue;
      if (files.has(file.path)) throw new WeightsError(`${where}: names ${shown(file.path)} twice`);
      files.set(file.path, file);
    }
    const next = /<([^>]+)>\s*;\s*rel="?next"?/.exec(answer.response.headers.get("link") ?? "")?.[1];
    if (next === undefined || !URL.canParse(next, address.href)) return files;
    // The page that it names, at the Hub that was asked: a mirror may pass links of the original on.
    address.search = new URL(next, address).search;
  }
}

function fileOf(entry: unknown, where: string): HubFile | null {
  if (!isObject(entry)) throw new WeightsError(`${where}: expected an object, received ${shown(entry)}`);
  if (entry.type !== "file") return null;
  const { path, lfs } = entry;
  if (typeof path !== "string") throw new WeightsError(`${where}: expected a path, received ${shown(path)}`);
  // Git has room for such names, and no file of a model bears one; what is left must stay in the folder.
  // eslint-disable-next-line no-control-regex
  if (/[\\:\u0000-\u001f]/.test(path)) return null;
  safeSegments(where, path);
  const { size, oid } = isObject(lfs) ? lfs : entry;
  if (!Number.isSafeInteger(size) || (size as number) < 0) {
    throw new WeightsError(`${where}: ${shown(path)} has the size ${shown(size)}, expected a number of bytes`);
  }
  const digits = isObject(lfs) ? 64 : 40;
  if (typeof oid !== "string" || !new RegExp(`^[0-9a-f]{${digits}}$`).test(oid)) {
    throw new WeightsError(`${where}: ${shown(path)} has the hash ${shown(oid)}, expected ${digits} hex digits`);
  }
  return { path, size: size as number, etag: oid };
}

async function readJson(
  hub: HubConnection,
  address: string,
  asked: Asked,
  signal: AbortSignal | undefined,
): Promise<{ json: unknown; answer: HubAnswer }> {
  const where = `${asked.repository}@${asked.revision}`;
  return withRetries(hub, where, signal, async () => {
    const watch = new StallWatch(hub.patience.stall, signal);
    try {
      const answer = await expectStatus(await ask(hub, address, watch), [200], hub, asked);
      const pieces: Uint8Array[] = [];
      let length = 0;
      await eachPiece(answer, watch, (piece) => {
        length += piece.length;
        if (length > MAX_PAGE_BYTES) throw new WeightsError(`${where}: an answer longer than ${MAX_PAGE_BYTES} bytes`);
        pieces.push(piece);
      });
      return { json: parseJson(decodeUtf8(joinBytes(where, pieces), where), where), answer };
    } finally {
      watch.stop();
    }
  });
}
