import { homedir } from "node:os";
import { join } from "node:path";
import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { isMissing, readNote } from "../plain-file.js";

/** An access token, and where it came from, for messages. */
export interface Token {
  readonly value: string;
  readonly from: string;
}

/** Where the Hub and its cache are, and who asks. */
export interface HubSettings {
  /** Address of the Hub, without a slash at its end. */
  readonly endpoint: string;
  /** The folder that holds `models--owner--name`, shared with Python's huggingface_hub. */
  readonly cacheDir: string;
  readonly token: Token | null;
  /** Nothing may be asked of the Hub. */
  readonly offline: boolean;
  /** Whether files of a snapshot are links to blobs; else they are the files themselves. */
  readonly symlinks: boolean;
}

/** What a caller may say himself; anything else comes from the environment. */
export interface GivenSettings {
  /** A token to send; false sends none, whatever the environment holds. */
  token?: string | false | undefined;
  cacheDir?: string | undefined;
}

/** The variables of a process, and its home folder. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly home: string;
}

export const surroundings = (): Surroundings => ({ env: process.env, home: homedir() });

/**
 * The settings that Python's huggingface_hub would take in the same surroundings: HF_ENDPOINT, HF_HOME, HF_HUB_CACHE,
 * HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE, HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_DISABLE_SYMLINKS, XDG_CACHE_HOME and
 * the older names. Throws `WeightsError` for an endpoint that is no http(s) address and a token that cannot be sent.
 * Source: huggingface_hub 2.4, constants.py and utils/_auth.py.
 */
export async function hubSettings(
  given: GivenSettings = {},
  around: Surroundings = surroundings(),
): Promise<HubSettings> {
  const { env } = around;
  const path = (text: string): string => expanded(text, around);
  const hfHome = path(env.HF_HOME ?? join(env.XDG_CACHE_HOME ?? join(around.home, ".cache"), "huggingface"));
  const cacheDir = path(given.cacheDir ?? env.HF_HUB_CACHE ?? env.HUGGINGFACE_HUB_CACHE ?? join(hfHome, "hub"));
  return {
    endpoint: endpointOf(env.HF_ENDPOINT || "https://huggingface.co"),
    cacheDir,
    token: await tokenOf(given.token, env, path(env.HF_TOKEN_PATH ?? join(hfHome, "token"))),
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    symlinks: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
  };
}

const isTrue = (value: string | undefined): boolean => ["1", "ON", "YES", "TRUE"].includes((value ?? "").toUpperCase());

/** A path with `~`, `$NAME` and `${NAME}` replaced, as a shell would. */
function expanded(text: string, { env, home }: Surroundings): string {
  const named = text.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, bare, braced) => env[bare ?? braced] ?? whole);
  return named === "~" || named.startsWith("~/") ? join(home, named.slice(1)) : named;
}

function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const plain = url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search && !url.hash;
  if (!plain) throw new WeightsError("HF_ENDPOINT: expected an http(s) address of a Hub, without a name or a query");
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`;
}

async function tokenOf(
  given: string | false | undefined,
  env: Surroundings["env"],
  file: string,
): Promise<Token | null> {
  if (given === false) return null;
  if (given !== undefined) return checked(given, "given with the call");
  if (isTrue(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)) return null;
  for (const name of ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]) if (env[name]) return checked(env[name], `of ${name}`);
  const stored = await readNote(file).catch((error: unknown) => {
    if (isMissing(error)) return "";
    throw new WeightsError(`${file}: the token cannot be read (${reasonOf(error)})`);
  });
  return stored.trim() === "" ? null : checked(stored, `of ${file}`);
}

/** Refused here because the engine's own error for a header that cannot be sent shows its value. */
function checked(text: string, from: string): Token | null {
  const value = text.trim();
  if (value === "") return null;
  if (!/^[\x21-\x7e]+$/.test(value)) {
    throw new WeightsError(`the access token ${from} holds spaces or letters that no token has; copy it again`);
  }
  return { value, from };
}
