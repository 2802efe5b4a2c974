import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { type HubConnection, TransientError, UnreachableError } from "./connection.js";
import type { StallWatch } from "./stall-watch.js";

/** More redirects than this are a loop. */
const MAX_REDIRECTS = 10;
/** Codes of connections that were never made. */
const UNREACHABLE = /^(ENOTFOUND|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL)$/;
/** Lengths and offsets must mean the stored bytes, so no compression on the way. */
const PLAIN = { "accept-encoding": "identity", "user-agent": "paligemma-tfjs" };

/** The last answer of a request. */
export interface HubAnswer {
  readonly response: Response;
  /** Who gave it. */
  readonly url: URL;
  /**
   * Headers of the last answer that the Hub itself gave: those of `response`, or of the redirect to where the bytes
   * are.
   */
  readonly hub: Headers;
}

/**
 * GETs an address at the Hub, and follows redirects by hand: the token goes to the Hub's own origin, until a redirect
 * leaves it. `headers` may differ by address. Any status is an answer. Throws `TransientError` for a connection that
 * broke, `WeightsError` for redirects that lead nowhere and for certificates that do not hold.
 */
export async function ask(
  { endpoint, token }: Pick<HubConnection, "endpoint" | "token">,
  address: string,
  watch: StallWatch,
  headers: (url: URL) => Record<string, string> = () => ({}),
): Promise<HubAnswer> {
  const home = new URL(endpoint).origin;
  let url = new URL(address);
  let atHome = true;
  let hub: Headers | null = null;
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    atHome &&= url.origin === home; // who was elsewhere may have been sent back with other intentions
    const authorization: Record<string, string> = atHome && token ? { authorization: `Bearer ${token.value}` } : {};
    const response = await send(url, { ...PLAIN, ...headers(url), ...authorization }, watch);
    if (atHome) hub = response.headers;
    const target = redirectOf(response, url);
    if (target === null) return { response, url, hub: hub ?? new Headers() };
    discard(response);
    url = target;
  }
  throw new WeightsError(`${plainly(new URL(address))}: redirected more than ${MAX_REDIRECTS} times`);
}

async function send(url: URL, headers: Record<string, string>, watch: StallWatch): Promise<Response> {
  const response = await fetch(url, { headers, redirect: "manual", signal: watch.signal }).catch((error: unknown) => {
    throw broken(error, url, watch);
  });
  watch.heard();
  return response;
}

function redirectOf(response: Response, from: URL): URL | null {
  const location = response.headers.get("location");
  if (![301, 302, 303, 307, 308].includes(response.status) || location === null) return null;
  const target = URL.canParse(location, from.href) ? new URL(location, from) : null;
  const safe = target?.protocol === "https:" || (target?.protocol === "http:" && from.protocol === "http:");
  if (target && safe && !target.username && !target.password) return target;
  throw new WeightsError(`${plainly(from)}: redirected to what is no http(s) address as safe as this one`);
}

/** Hands the body over piece by piece, waiting for each. Throws `TransientError` when it breaks off. */
export async function eachPiece(
  { response, url }: HubAnswer,
  watch: StallWatch,
  take: (piece: Uint8Array) => Promise<void> | void,
): Promise<void> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    for (let part = await next(reader, url, watch); !part.done; part = await next(reader, url, watch)) {
      const piece = part.value;
      watch.heard(piece.length);
      await watch.aside(() => take(piece)); // a slow disk is no slow server
    }
  } catch (error) {
    void reader.cancel().catch(() => {});
    throw error;
  }
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;
type Part = Awaited<ReturnType<Reader["read"]>>;

/** The next piece. Aborting is not left to the engine: in Node 20 a read that begins after it may never end. */
function next(reader: Reader, url: URL, watch: StallWatch): Promise<Part> {
  const { signal } = watch;
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason as Error);
    if (signal.aborted) return stop();
    signal.addEventListener("abort", stop, { once: true });
    const settled = (): void => signal.removeEventListener("abort", stop);
    reader
      .read()
      .then(resolve, (error: unknown) => reject(broken(error, url, watch)))
      .finally(settled);
  });
}

/** Lets go of a body that nobody reads, or its connection would stay busy. */
export function discard(response: Response): void {
  void response.body?.cancel().catch(() => {});
}

/** An address as messages show it: what follows the path may be a signature. */
export const plainly = (url: URL): string => `${url.origin}${url.pathname}`;

/** The reason of a connection that broke; the caller's own where the caller stopped it. */
function broken(error: unknown, url: URL, watch: StallWatch): unknown {
  if (watch.signal.aborted) return watch.signal.reason;
  // `fetch` says only "fetch failed"; its cause says why.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : null;
  const reason = cause ? cause.message || cause.name : reasonOf(error);
  const code = (cause as NodeJS.ErrnoException | null)?.code ?? "";
  if (/CERT|SELF_SIGNED|_TLS_|VERIFY/.test(code)) return new WeightsError(`${url.origin}: ${reason} (${code})`);
  if (UNREACHABLE.test(code) || reason === "bad port")
    return new UnreachableError(`${url.host} cannot be reached (${reason})`);
  return new TransientError(`no whole answer from ${url.host} (${reason})`);
}
