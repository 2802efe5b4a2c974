import { WeightsError } from "../errors.js";
import { type HubConnection, TransientError, withRetries } from "./connection.js";
import type { HubFile } from "./listing.js";
import { PartialFile } from "./partial-file.js";
import { type Asked, expectStatus } from "./refusal.js";
import { fileAddress } from "./repository.js";
import { ask, discard, eachPiece, type HubAnswer } from "./request.js";
import { StallWatch } from "./stall-watch.js";

/**
 * Times that a file may turn out to be another: once for what an earlier, interrupted run left, once for what came now.
 */
const MISMATCHES = 2;

export interface FetchOptions {
  readonly signal?: AbortSignal | undefined;
  /** Hears how many bytes of the file are there. */
  readonly onLength?: ((bytes: number) => void) | undefined;
}

/**
 * Downloads a file of a commit into `path`, going on where an earlier attempt ended, until its size and its hash are
 * those of the listing. What was aborted or broke off stays there for the next time. Throws `WeightsError` where it is
 * not the file that was listed, and what `expectStatus`, `withRetries` and `PartialFile` throw.
 */
export async function fetchFile(
  hub: HubConnection,
  asked: Asked & { file: string },
  file: HubFile,
  path: string,
  { signal, onLength = () => {} }: FetchOptions = {},
): Promise<void> {
  const partial = await PartialFile.open(path, file, signal);
  try {
    await new Fetch(hub, asked, file, partial, onLength).run(signal);
  } finally {
    await partial.close();
  }
}

class Fetch {
  /** What each host calls the version that it sent: a resumed request goes on only with the same. */
  private readonly validators = new Map<string, string>();
  private readonly name: string;
  private furthest: number;
  private mismatches = 0;

  constructor(
    private readonly hub: HubConnection,
    private readonly asked: Asked & { file: string },
    private readonly file: HubFile,
    private readonly partial: PartialFile,
    private readonly onLength: (bytes: number) => void,
  ) {
    this.name = `${asked.repository}/${file.path}`;
    this.furthest = partial.length;
    this.validators.set(new URL(hub.endpoint).origin, `"${file.etag}"`);
  }

  async run(signal: AbortSignal | undefined): Promise<void> {
    await withRetries(this.hub, this.name, signal, async (progress) => {
      if (this.partial.length < this.file.size) await this.attempt(signal, progress);
      if (await this.partial.isWhole()) return;
      await this.restart();
      this.mismatches += 1;
      const what = `the bytes that came are not those of ${this.file.etag}`;
      if (this.mismatches === MISMATCHES) throw new WeightsError(`${this.name}: ${what}; nothing of it was kept`);
      throw new TransientError(what);
    });
  }

  private async attempt(signal: AbortSignal | undefined, progress: () => void): Promise<void> {
    const watch = new StallWatch(this.hub.patience.stall, signal);
    try {
      const address = fileAddress(this.hub.endpoint, this.asked.repository, this.asked.revision, this.file.path);
      const answer = await ask(this.hub, address, watch, (url) => this.range(url));
      await this.begin(answer);
      await eachPiece(answer, watch, async (piece) => {
        if (this.partial.length + piece.length > this.file.size) {
          await this.restart();
          throw new TransientError(`${answer.url.host} sent more than ${this.file.size} bytes`);
        }
        await this.partial.append(piece);
        this.onLength(this.partial.length);
        if (this.partial.length >= this.furthest + this.hub.patience.progress) {
          this.furthest = this.partial.length;
          progress();
        }
      });
      if (this.partial.length === this.file.size) return;
      throw new TransientError(`${answer.url.host} ended after ${this.partial.length} of ${this.file.size} bytes`);
    } finally {
      watch.stop();
    }
  }

  /** Asks for what is missing, if it is still of the same version. */
  private range(url: URL): Record<string, string> {
    if (this.partial.length === 0) return {};
    const validator = this.validators.get(url.origin);
    return { range: `bytes=${this.partial.length}-`, ...(validator && { "if-range": validator }) };
  }

  /**
   * Checks that an answer is of this file and begins where the partial ends; an answer from the start makes it begin
   * anew.
   */
  private async begin(answer: HubAnswer): Promise<void> {
    const { response, url } = answer;
    const { size } = this.file;
    if (response.status === 416) {
      discard(response);
      await this.restart();
      throw new TransientError(`${url.host} has no bytes beyond those that are here`);
    }
    await expectStatus(answer, [200, 206], this.hub, this.asked);
    const odd = this.difference(answer);
    if (odd) {
      discard(response);
      throw new WeightsError(`${this.name}: ${odd}; run it again, and if it stays so, tell those who run ${url.host}`);
    }
    if (response.status === 200 && this.partial.length > 0) await this.restart();
    const start = this.partial.length;
    const range = response.headers.get("content-range");
    const wanted = [`bytes ${start}-${size - 1}/${size}`, `bytes ${start}-${size - 1}/*`];
    // What is compressed on the way, though it was not asked for, has another length there.
    const length = response.headers.has("content-encoding") ? null : response.headers.get("content-length");
    const wrong = response.status === 206 ? !wanted.includes(range ?? "") : length !== null && Number(length) !== size;
    if (wrong) {
      discard(response);
      const sends = response.status === 206 ? `"${range}"` : `${length} bytes`;
      throw new TransientError(`${url.host} sends ${sends}, expected bytes ${start} to ${size} of it`);
    }
    const etag = response.headers.get("etag");
    if (etag && !etag.startsWith("W/")) this.validators.set(url.origin, etag);
  }

  /** How the Hub's headers contradict the listing; null where they do not. */
  private difference({ hub, response, url }: HubAnswer): string | null {
    const direct = url.origin === new URL(this.hub.endpoint).origin;
    const commit = hub.get("x-repo-commit");
    if (commit !== null && commit !== this.asked.revision) return `the Hub serves it from commit ${commit}`;
    const size = hub.get("x-linked-size");
    if (size !== null && Number(size) !== this.file.size)
      return `the Hub gives its size as ${size}, and listed ${this.file.size}`;
    const etag = (hub.get("x-linked-etag") ?? (direct ? response.headers.get("etag") : null))?.replace(/^W\//, "");
    // Mirrors may make etags of their own; one that looks like a hash is one.
    const hash = /^"?([0-9a-f]{40}|[0-9a-f]{64})"?$/.exec(etag ?? "")?.[1];
    if (hash !== undefined && hash !== this.file.etag)
      return `the Hub now serves ${hash}, and listed ${this.file.etag}`;
    return null;
  }

  private async restart(): Promise<void> {
    await this.partial.restart();
    this.onLength(0);
  }
}
