import { InputError } from "../../base/errors.js";

/** The most bytes that are taken from an address. */
export const MAX_FETCHED_BYTES = 64 * 2 ** 20;

/** How long an address may take, in milliseconds. */
export const FETCH_TIMEOUT_MS = 30_000;

/**
 * The bytes behind an http(s) address; `name` stands for it in errors. Throws `InputError` where the server cannot be
 * reached, answers with another status than success, sends more than `MAX_FETCHED_BYTES` or takes longer than
 * `timeoutMs`.
 */
export async function fetchPicture(
  address: URL,
  name: string,
  { timeoutMs = FETCH_TIMEOUT_MS }: { timeoutMs?: number } = {},
): Promise<Uint8Array> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const response = await fetch(...withoutUser(address, signal));
    if (!response.ok) {
      await response.body?.cancel();
      throw new InputError(`${name}: the server answers ${response.status}; check the address`);
    }
    return await bounded(response, name);
  } catch (error) {
    if (error instanceof InputError) throw error;
    const reason = signal.aborted ? `no answer within ${timeoutMs / 1000} s` : codeOf(error);
    throw new InputError(
      `${name}: the picture cannot be fetched (${reason}); check the address, or download it first`,
      {
        cause: (error as Error).cause ?? error,
      },
    );
  }
}

// `fetch` takes no address with a user, who goes to the server in a header as curl sends it.
function withoutUser(address: URL, signal: AbortSignal): [URL, RequestInit] {
  const { username, password } = address;
  const plain = new URL(address);
  [plain.username, plain.password] = ["", ""];
  const user = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64");
  const headers = new Headers({ accept: "image/*" });
  if (username !== "") headers.set("authorization", `Basic ${user}`);
  return [plain, { signal, headers }];
}

async function bounded(response: Response, name: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = Number(response.headers.get("content-length") ?? 0);
  const check = (): void => {
    if (size <= MAX_FETCHED_BYTES) return;
    throw new InputError(
      `${name}: the answer has more than ${MAX_FETCHED_BYTES} bytes; download it, and give its path`,
    );
  };
  check();
  size = 0;
  const reader = response.body?.getReader();
  try {
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      size += part.value.length;
      check();
      parts.push(part.value);
    }
  } finally {
    await reader?.cancel().catch(() => {});
  }
  return Buffer.concat(parts);
}

// The message may hold the address, and with it what is secret.
const codeOf = (error: unknown): string =>
  (((error as Error).cause ?? {}) as NodeJS.ErrnoException).code ?? (error as Error).name;
