import { shown } from "../json.js";
import { WeightsError } from "../errors.js";
import { type HubConnection, HubUnavailableError, TransientError } from "./connection.js";
import { pageOf } from "./repository.js";
import { discard, type HubAnswer } from "./request.js";

/** What was asked for, as messages call it. */
export interface Asked {
  readonly repository: string;
  readonly revision: string;
  readonly file?: string | undefined;
}

/** Answers that may be others a moment later. Source: huggingface_hub, utils/_http.py. */
const TRANSIENT = [408, 429, 500, 502, 503, 504];
const TOKENS = "https://huggingface.co/settings/tokens";

/**
 * Passes an answer with one of `statuses` on. Throws `TransientError` with the pause that the server asks for,
 * `HubUnavailableError` where access is what is missing, and `WeightsError` otherwise, each saying what to do.
 */
export async function expectStatus(
  answer: HubAnswer,
  statuses: readonly number[],
  hub: HubConnection,
  asked: Asked,
): Promise<HubAnswer> {
  const { status, headers } = answer.response;
  if (statuses.includes(status)) return answer;
  discard(answer.response);
  if (TRANSIENT.includes(status)) throw new TransientError(`${answer.url.host} answered ${status}`, pauseOf(headers));
  throw answer.url.origin === new URL(hub.endpoint).origin
    ? refusal(answer, hub, asked)
    : new WeightsError(`${nameOf(asked)}: the host ${answer.url.host}, where the Hub keeps it, answered ${status}`);
}

/**
 * Milliseconds that the server asks to wait: `Retry-After` in seconds or as a date, or the end of a rate limit; null
 * where it says nothing.
 */
function pauseOf(headers: Headers): number | null {
  const limit = /"\w+"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)/.exec(headers.get("ratelimit") ?? "");
  const after = headers.get("retry-after")?.trim() ?? limit?.[1] ?? "";
  if (/^\d+$/.test(after)) return Number(after) * 1000;
  const date = Date.parse(after);
  return Number.isNaN(date) ? null : Math.max(0, date - Date.now());
}

const nameOf = ({ repository, revision, file }: Asked): string =>
  `${repository}@${revision}${file === undefined ? "" : `/${file}`}`;

/** What the Hub means by its codes. Source: huggingface_hub, utils/_http.py, `hf_raise_for_status`. */
function refusal({ response, hub: headers }: HubAnswer, hub: HubConnection, asked: Asked): WeightsError {
  const code = headers.get("x-error-code");
  const text = headers.get("x-error-message") ?? "";
  const name = nameOf(asked);
  const page = pageOf(hub.endpoint, asked.repository);
  if (code === "RevisionNotFound") {
    return new WeightsError(`${name}: there is no such branch, tag or commit; they are listed at ${page}/tree/main`);
  }
  if (code === "EntryNotFound") return new WeightsError(`${name}: there is no such file at that revision; see ${page}`);
  if (code === "GatedRepo") return new HubUnavailableError(`${name}: ${gated(hub, page)}`);
  if (response.status === 401 && hub.token && /invalid (credentials|user(name)?|token)/i.test(text)) {
    return new HubUnavailableError(
      `${name}: the Hub does not accept the access token ${hub.token.from}; make one at ${TOKENS}`,
    );
  }
  if (code === "RepoNotFound" || response.status === 401 || response.status === 404) {
    const who = hub.token ? `for the access token ${hub.token.from}` : `without an access token (${HOW})`;
    return new RepositoryNotFoundError(
      `${name}: ${hub.endpoint} has no such repository, or none to see ${who}; check the spelling at ${page}`,
    );
  }
  const says = text === "" ? "" : `: ${shown(withoutToken(text, hub))}`;
  return new HubUnavailableError(`${name}: the Hub answered ${response.status}${says}`);
}

/** There is no repository of that name, or none that whoever asks may see. */
export class RepositoryNotFoundError extends HubUnavailableError {}

const HOW = `HF_TOKEN, --token or \`hf auth login\`; make one at ${TOKENS}`;

function gated({ token }: HubConnection, page: string): string {
  const accept = `visit ${page}, signed in, and accept the licence`;
  if (token === null) return `the model is gated; ${accept}, then give an access token of that account (${HOW})`;
  return (
    `the model is gated, and the account of the access token ${token.from} has no access to it; ${accept} with that account, ` +
    `and let a fine-grained token read gated repositories (${TOKENS})`
  );
}

/** A server may send back what it was sent. */
const withoutToken = (text: string, { token }: HubConnection): string =>
  token === null ? text : text.replaceAll(token.value, "***");
