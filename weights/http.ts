import { allocate, MAX_PIECE, readInPieces, reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";
import type { ByteSource } from "./source.js";

/** Lengths and offsets must mean the stored bytes, so no compression on the way. */
const PLAIN = { "accept-encoding": "identity" };

/**
 * Opens what lies behind a URL; `name` is what errors call it. One byte is asked for: the answer tells the size and proves
 * that the server serves ranges. Throws `WeightsError` when it does not, or when there is nothing.
 */
export async function openUrl(
  url: string,
  name: string,
  pieceSize = MAX_PIECE,
  signal?: AbortSignal,
): Promise<ByteSource> {
  const size = await sizeOf(url, name, signal);
  let closed = false;
  const fill = async (piece: Uint8Array, position: number): Promise<void> => {
    const end = position + piece.length;
    const response = await request(url, name, { headers: { ...PLAIN, range: `bytes=${position}-${end - 1}` }, signal });
    const expected = `bytes ${position}-${end - 1}/${size}`;
    const range = response.headers.get("content-range");
    if (response.status !== 206 || (range !== expected && range !== `bytes ${position}-${end - 1}/*`)) {
      await discard(response);
      throw new WeightsError(
        `${name}: asked for "${expected}", the server answered ${response.status} with "${range ?? "no range"}"`,
      );
    }
    await readBody(response, piece, `${name}: bytes ${position}..${end}`);
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
export async function hasUrl(url: string, name: string, signal?: AbortSignal): Promise<boolean> {
  let response = await request(url, name, { method: "HEAD", headers: PLAIN, signal });
  // Signed and hand-written servers may allow GET only.
  if ([403, 405, 501].includes(response.status)) response = await firstByte(url, name, signal);
  await discard(response);
  if (response.status === 404 || response.status === 410) return false;
  if (response.ok || response.status === 416) return true;
  throw new WeightsError(`${name}: the server answered ${status(response)}`);
}

/** All bytes behind a URL, at most `limit`; throws `WeightsError` when it fails, is longer, or is not as long as announced. */
export async function readUrl(url: string, name: string, limit: number, signal?: AbortSignal): Promise<Uint8Array> {
  const response = await request(url, name, { headers: PLAIN, signal });
  if (!response.ok) {
    await discard(response);
    throw new WeightsError(`${name}: the server answered ${status(response)}`);
  }
  const tooLong = new WeightsError(`${name}: longer than the ${limit} bytes expected at most for such a file`);
  const parts: Uint8Array[] = [];
  let length = 0;
  await eachChunk(response, name, (chunk) => {
    length += chunk.length;
    if (length > limit) throw tooLong;
    parts.push(chunk);
  });
  const announced = response.headers.get("content-length");
  if (announced !== null && !response.headers.has("content-encoding") && Number(announced) !== length) {
    throw new WeightsError(`${name}: the server announced ${announced} bytes and sent ${length}`);
  }
  const bytes = allocate(name, length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const firstByte = (url: string, name: string, signal: AbortSignal | undefined): Promise<Response> =>
  request(url, name, { headers: { ...PLAIN, range: "bytes=0-0" }, signal });

async function sizeOf(url: string, name: string, signal: AbortSignal | undefined): Promise<number> {
  const response = await firstByte(url, name, signal);
  await discard(response);
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

type RequestOptions = { method?: string; headers: Record<string, string>; signal: AbortSignal | undefined };

async function request(url: string, name: string, { signal, ...options }: RequestOptions): Promise<Response> {
  try {
    return await fetch(url, { ...options, signal: signal ?? null }); // follows redirects
  } catch (error) {
    signal?.throwIfAborted();
    throw new WeightsError(`${name}: no answer from the server (${networkReason(error)})`);
  }
}

/** Fills `target` with the body, which must be exactly as long. */
async function readBody(response: Response, target: Uint8Array, where: string): Promise<void> {
  let at = 0;
  await eachChunk(response, where, (chunk) => {
    if (at + chunk.length > target.length) throw new WeightsError(`${where}: the server sent more than was asked for`);
    target.set(chunk, at);
    at += chunk.length;
  });
  if (at !== target.length) throw new WeightsError(`${where}: the server sent ${at} of ${target.length} bytes`);
}

async function eachChunk(response: Response, where: string, take: (chunk: Uint8Array) => void): Promise<void> {
  const reader = response.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) take(part.value);
  } catch (error) {
    await reader?.cancel().catch(() => {});
    if (error instanceof WeightsError || isAbort(error)) throw error;
    throw new WeightsError(`${where}: the connection broke (${networkReason(error)})`);
  }
}

/** Whether the caller stopped it; the reason is then the caller's own. */
const isAbort = (error: unknown): boolean =>
  error instanceof Error && ["AbortError", "TimeoutError"].includes(error.name);

/** Lets go of a body that nobody reads, or its connection would stay busy. */
async function discard(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => {});
}

const status = (response: Response): string => `${response.status} ${response.statusText}`.trim();

/** `fetch` says only "fetch failed"; its cause says why. */
function networkReason(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause instanceof Error ? `${reasonOf(error)}: ${cause.message || cause.name}` : reasonOf(error);
}
