import { createHash } from "node:crypto";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";

/** A repository as the server keeps it: the files of each commit, and what branches mean. */
export type ServedRepository = {
  commits: Record<string, Record<string, Buffer>>;
  refs: Record<string, string>;
  /** Files that lie on the second host, as large ones do; default: safetensors, npz and h5. */
  large?: (path: string) => boolean;
  /** Only this token may see files. */
  token?: string;
  /** How the files are refused without it: as of a gated model (default), or as of none that exists. */
  hidden?: boolean;
};

/** A request that came; `sent` counts the bytes of files. */
export type HubRequest = {
  host: "hub" | "store";
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  status: number;
  sent: number;
};

/** What goes wrong with one answer. */
export type Fault = {
  status?: number;
  headers?: Record<string, string>;
  /** Sent instead of the file, with its ranges. */
  content?: Buffer;
  /** The file's ETag at this host. */
  etag?: string;
  /** Bytes of the body after which the connection breaks, or nothing comes any more. */
  cutAfter?: number;
  stallAfter?: number;
  /** Milliseconds between bytes, which come one at a time. */
  drip?: number;
  ignoreRange?: boolean;
  /** Another length than the body has, or none. */
  contentLength?: number | null;
  contentRange?: string;
  /** No answer comes. */
  silent?: boolean;
  /** Comes instead of a listing or a commit. */
  json?: unknown;
};

export const sha256 = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
export const gitSha1 = (bytes: Buffer): string =>
  createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");

/** A Hub on this machine, and a second host for large files, that can misbehave. */
export class HubServer {
  readonly requests: HubRequest[] = [];
  /** Asked for each request; `count` is how often this path was asked for before, at either host. */
  fault: (request: HubRequest, count: number) => Fault | undefined = () => undefined;
  /** Entries on a page of a listing. */
  pageSize = 1000;
  private hub!: Server;
  private store!: Server;

  private constructor(private readonly repositories: Record<string, ServedRepository>) {}

  static async start(repositories: Record<string, ServedRepository>): Promise<HubServer> {
    const server = new HubServer(repositories);
    server.hub = await listening((request, response) => server.answer("hub", request, response));
    server.store = await listening((request, response) => server.answer("store", request, response));
    return server;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.hub.address() as AddressInfo).port}`;
  }

  /** Requests for the bytes of files. */
  get fileRequests(): HubRequest[] {
    return this.requests.filter(
      ({ host, path, status }) => (host === "store" || path.includes("/resolve/")) && status < 300,
    );
  }

  async close(): Promise<void> {
    for (const server of [this.hub, this.store]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  private answer(host: "hub" | "store", request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(request.url!.split("?")[0]);
    const entry: HubRequest = { host, method: request.method!, path, headers: request.headers, status: 0, sent: 0 };
    const count = this.requests.filter((other) => other.path === path).length;
    this.requests.push(entry);
    const fault = this.fault(entry, count) ?? {};
    this.route({ request, response, entry, fault });
    entry.status = response.statusCode;
  }

  private route(exchange: Exchange): void {
    const { response, entry, fault } = exchange;
    const { host, path } = entry;
    if (fault.silent) return;
    if (fault.status !== undefined && fault.status >= 300) {
      return void response.writeHead(fault.status, fault.headers).end();
    }
    if (host === "store") return this.sendStored(path.slice(1), exchange);
    const api = /^\/api\/models\/([^/]+\/[^/]+)(?:\/(revision|tree)\/(.+))?$/.exec(path);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    if (api) return this.sendApi(api[1], api[2] ?? "revision", api[3] ?? "main", exchange);
    if (file) return this.sendFile(file[1], file[2], file[3], exchange);
    response.writeHead(404).end();
  }

  private refuses(name: string, { request, response }: Exchange): boolean {
    const repository = this.repositories[name];
    const { authorization } = request.headers;
    if (!repository) response.writeHead(authorization ? 404 : 401, { "x-error-code": "RepoNotFound" }).end();
    else if (repository.token && authorization && authorization !== `Bearer ${repository.token}`) {
      const invalid = `Invalid credentials in Authorization header: ${authorization}`;
      response.writeHead(401, { "x-error-message": invalid }).end();
    } else if (repository.token && !authorization) {
      response.writeHead(401, { "x-error-code": repository.hidden ? "RepoNotFound" : "GatedRepo" }).end();
    } else return false;
    return true;
  }

  private sendApi(name: string, kind: string, revision: string, exchange: Exchange): void {
    const { request, response, fault } = exchange;
    const repository = this.repositories[name];
    // What a gated repository holds is public; that a hidden one exists is not.
    if ((!repository || repository.hidden) && this.refuses(name, exchange)) return;
    const commit = repository.refs[revision] ?? revision;
    const files = repository.commits[commit];
    if (!files) return void response.writeHead(404, { "x-error-code": "RevisionNotFound" }).end();
    const sha = { id: name, sha: commit, siblings: Object.keys(files).map((rfilename) => ({ rfilename })) };
    const tree = Object.entries(files).map(([path, bytes]) => {
      const lfs = this.isLarge(repository, path) && { oid: sha256(bytes), size: bytes.length, pointerSize: 130 };
      return { type: "file", path, size: bytes.length, oid: gitSha1(bytes), ...(lfs && { lfs }) };
    });
    const start = Number(new URL(request.url!, this.endpoint).searchParams.get("cursor") ?? 0);
    const end = start + this.pageSize;
    const more = kind === "tree" && end < tree.length;
    const next = `<https://huggingface.co${request.url!.split("?")[0]}?recursive=true&cursor=${end}>; rel="next"`;
    const json = fault.json ?? (kind === "tree" ? tree.slice(start, end) : sha);
    response.writeHead(200, { "content-type": "application/json", ...(more && { link: next }), ...fault.headers });
    response.end(JSON.stringify(json));
  }

  private sendFile(name: string, revision: string, path: string, exchange: Exchange): void {
    if (this.refuses(name, exchange)) return;
    const repository = this.repositories[name];
    const commit = repository.refs[revision] ?? revision;
    const bytes = repository.commits[commit]?.[path];
    const { response, fault } = exchange;
    if (!bytes) {
      return void response.writeHead(404, { "x-error-code": "EntryNotFound", "x-repo-commit": commit }).end();
    }
    const about = { "x-repo-commit": commit, ...fault.headers };
    if (!this.isLarge(repository, path)) {
      return sendRange(fault.content ?? bytes, `"${gitSha1(fault.content ?? bytes)}"`, about, exchange);
    }
    const location = `http://127.0.0.1:${(this.store.address() as AddressInfo).port}/${sha256(bytes)}?signature=s`;
    const linked = { "x-linked-etag": `"${sha256(bytes)}"`, "x-linked-size": String(bytes.length) };
    response.writeHead(302, { location, ...linked, ...about }).end();
  }

  private sendStored(hash: string, exchange: Exchange): void {
    const commits = Object.values(this.repositories).flatMap(({ commits }) => Object.values(commits));
    const bytes = commits.flatMap((files) => Object.values(files)).find((file) => sha256(file) === hash);
    if (!bytes) return void exchange.response.writeHead(404).end();
    // Not the hash: stores have etags of their own.
    sendRange(
      exchange.fault.content ?? bytes,
      exchange.fault.etag ?? `"stored-${hash.slice(0, 8)}"`,
      exchange.fault.headers,
      exchange,
    );
  }

  private isLarge(repository: ServedRepository, path: string): boolean {
    return (repository.large ?? ((name) => /\.(safetensors|npz|h5)$/.test(name)))(path);
  }
}

type Exchange = { request: IncomingMessage; response: ServerResponse; entry: HubRequest; fault: Fault };

async function listening(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

/**
 * Answers with the range that was asked for, if it is still of the version that `If-Range` names. Source: RFC 9110, 13
 * and 14.
 */
function sendRange(
  bytes: Buffer,
  etag: string,
  headers: Record<string, string> | undefined,
  { request, response, entry, fault }: Exchange,
): void {
  const condition = request.headers["if-range"];
  const asked = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  const range = fault.ignoreRange || (condition !== undefined && condition !== etag) ? null : asked;
  const start = range ? Number(range[1]) : 0;
  const end = range?.[2] ? Math.min(Number(range[2]) + 1, bytes.length) : bytes.length;
  if (range && start >= bytes.length) {
    return void response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
  }
  const body = bytes.subarray(start, end);
  response.writeHead(range ? 206 : 200, {
    etag,
    ...(fault.contentLength !== null && { "content-length": fault.contentLength ?? body.length }),
    ...(range && { "content-range": fault.contentRange ?? `bytes ${start}-${end - 1}/${bytes.length}` }),
    ...headers,
  });
  if (request.method === "HEAD") return void response.end();
  if (fault.drip !== undefined) return drip(response, body, fault.drip);
  const limit = fault.cutAfter ?? fault.stallAfter;
  const sent = limit === undefined ? body : body.subarray(0, limit);
  entry.sent = sent.length;
  if (limit === undefined) return void response.end(sent);
  if (sent.length === 0) response.flushHeaders();
  response.write(sent, () => {
    if (fault.cutAfter !== undefined) response.destroy();
  });
}

function drip(response: ServerResponse, body: Buffer, pause: number): void {
  let at = 0;
  const timer = setInterval(() => response.write(body.subarray(at, ++at)), pause);
  response.once("close", () => clearInterval(timer));
}
