import { joinBytes, MAX_PIECE, readInPieces, reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";
import { StallWatch } from "./hub/stall-watch.js";
import type { ByteSource } from "./byte-source.js";

/** Lengths and offsets must mean the stored bytes, so no compression on the way. */
const PLAIN = { "accept-encoding": "identity" };

/** Milliseconds of silence, or of fewer bytes than `SLOWEST` a second, after which a server is given up. */
const STALL = 30_000;

/** Who may stop a request, and how long a server is waited for. */
export type HttpOptions = {
  signal?: AbortSignal | undefined;
  /** Milliseconds without an answer, or with a trickle of one; default 30 s. */
  stall?: number | undefined;
  /** Bytes that are asked for at once. */
  pieceSize?: number | undefined;
};

/**
 * Opens what lies behind a URL; `name` is what errors call it. One byte is asked for: the answer tells the size and
 * proves that the server serves ranges. Throws `WeightsError` when it does not, or when there is nothing.
 */
export async function openUrl(url: string, name: string, options: HttpOptions = {}): Promise<ByteSource> {
  const { pieceSize = MAX_PIECE } = options;
  const size = await sizeOf(url, name, options);
  let closed = false;
  const fill = async (piece: Uint8Array, position: number): Promise<void> => {
    const end = position + piece.length;
    const headers = { ...PLAIN, range: `bytes=${position}-${end - 1}` };
    await withResponse(url, name, { ...options, headers }, async (response, watch) => {
      const expected = `bytes ${position}-${end - 1}/${size}`;
      const range = response.headers.get("content-range");
      if (response.status !== 206 || (range !== expected && range !== `bytes ${position}-${end - 1}/*`)) {
        throw new WeightsError(
          `${name}: asked for "${expected}", the server answered ${response.status} with "${range ?? "no range"}"`,
        );
      }
      await readBody(response, watch, piece, `${name}: bytes ${position}..${end}`);
    });
  };
  const read = async (start: number, end: number): Promise<Uint8Array> => {
    if (closed) throw new WeightsError(`${name}: bytes ${start}..${end} were asked for after closing`);
    return readInPieces({ name, size }, [start, end], fill, pieceSize);
  };
  const close = async (): Promise<void> => {
    closed = true;
  };
  return { name, size, read, close };
}

/** Whether a URL leads to something: false on 404 and 410; throws `WeightsError` on any other failure. */
export async function hasUrl(url: string, name: string, options: HttpOptions = {}): Promise<boolean> {
  const statusOf = (more: Partial<RequestOptions>): Promise<Pick<Response, "status" | "statusText" | "ok">> =>
    withResponse(url, name, { ...options, headers: PLAIN, ...more }, async (response) => response);
  let response = await statusOf({ method: "HEAD" });
  // Signed and hand-written servers may allow GET only.
  if ([403, 405, 501].includes(response.status)) response = await statusOf({ headers: FIRST_BYTE });
  if (response.status === 404 || response.status === 410) return false;
  if (response.ok || response.status === 416) return true;
  throw new WeightsError(`${name}: the server answered ${status(response)}`);
}

/**
 * All bytes behind a URL, at most `limit`; throws `WeightsError` when it fails, is longer, or is not as long as
 * announced.
 */
export async function readUrl(
  url: string,
  name: string,
  limit: number,
  options: HttpOptions = {},
): Promise<Uint8Array> {
  return withResponse(url, name, { ...options, headers: PLAIN }, async (response, watch) => {
    if (!response.ok) throw new WeightsError(`${name}: the server answered ${status(response)}`);
    const tooLong = new WeightsError(`${name}: longer than the ${limit} bytes expected at most for such a file`);
    const parts: Uint8Array[] = [];
    let length = 0;
    await eachChunk(response, watch, name, (chunk) => {
      length += chunk.length;
      if (length > limit) throw tooLong;
      parts.push(chunk);
    });
    const announced = response.headers.get("content-length");
    if (announced !== null && !response.headers.has("content-encoding") && Number(announced) !== length) {
      throw new WeightsError(`${name}: the server announced ${announced} bytes and sent ${length}`);
    }
    return joinBytes(name, parts);
  });
}

/** Asks for the first byte alone. */
const FIRST_BYTE = { ...PLAIN, range: "bytes=0-0" };

async function sizeOf(url: string, name: string, options: HttpOptions): Promise<number> {
  const response = await withResponse(url, name, { ...options, headers: FIRST_BYTE }, async (answer) => answer);
  const range = response.headers.get("content-range") ?? "";
  const size = Number(/^bytes (?:0-0|\*)\/(\d+)$/.exec(range)?.[1] ?? Number.NaN);
  if (response.status === 206 && size > 0 && Number.isSafeInteger(size)) return size;
  // No first byte exists in an empty file: 416 by the standard, an empty 200 from simpler servers.
  if (response.status === 416 && size === 0) return 0;
  if (response.status === 200 && response.headers.get("content-length") === "0") return 0;
  if (response.status === 404 || response.status === 410) throw new WeightsError(`${name}: there is no such file`);
  if (response.status === 200) {
    throw new WeightsError(`${name}: the server ignores Range requests; download the folder and give its path`);
  }
  throw new WeightsError(
    `${name}: asked for the first byte, the server answered ${status(response)} with "${range || "no range"}"`,
  );
}

type RequestOptions = HttpOptions & { method?: string; headers: Record<string, string> };

/** Asks a server, following redirects, and hands its answer to `use`; a body that is not read by then is let go of. */
async function withResponse<Result>(
  url: string,
  name: string,
  { signal, stall = STALL, method = "GET", headers }: RequestOptions,
  use: (response: Response, watch: StallWatch) => Promise<Result>,
): Promise<Result> {
  const watch = new StallWatch(stall, signal, (reason) => new WeightsError(`${name}: ${reason} from the server`));
  let response: Response | null = null;
  try {
    response = await fetch(url, { method, headers, signal: watch.signal });
    watch.heard();
    return await use(response, watch);
  } catch (error) {
    if (watch.signal.aborted) throw watch.signal.reason;
    if (response !== null) throw error;
    throw new WeightsError(`${name}: no answer from the server (${networkReason(error)})`);
  } finally {
    watch.stop();
    if (response !== null) await discard(response);
  }
}

/** Fills `target` with the body, which must be exactly as long. */
async function readBody(response: Response, watch: StallWatch, target: Uint8Array, where: string): Promise<void> {
  let at = 0;
  await eachChunk(response, watch, where, (chunk) => {
    if (at + chunk.length > target.length) throw new WeightsError(`${where}: the server sent more than was asked for`);
    target.set(chunk, at);
    at += chunk.length;
  });
  if (at !== target.length) throw new WeightsError(`${where}: the server sent ${at} of ${target.length} bytes`);
}

async function eachChunk(
  response: Response,
  watch: StallWatch,
  where: string,
  take: (chunk: Uint8Array) => void,
): Promise<void> {
  const reader = response.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      watch.heard(part.value.length);
      watch.signal.throwIfAborted();
      take(part.value);
    }
  } catch (error) {
    if (error instanceof WeightsError || watch.signal.aborted) throw error;
    throw new WeightsError(`${where}: the connection broke (${networkReason(error)})`);
  } finally {
    await reader?.cancel().catch(() => {});
    reader?.releaseLock();
  }
}

/** Lets go of a body that nobody reads, or its connection would stay busy. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}

const status = (response: Pick<Response, "status" | "statusText">): string =>
  `${response.status} ${response.statusText}`.trim();

/** `fetch` says only "fetch failed"; its cause says why. */
function networkReason(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error ? `${reasonOf(error)}: ${cause.message || cause.name}` : reasonOf(error);
}
