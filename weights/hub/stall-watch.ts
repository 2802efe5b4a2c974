import { TransientError } from "./connection.js";

/** Fewest bytes a second that must come: the largest checkpoint would take more than a year. */
export const SLOWEST = 1024;

/**
 * A signal that aborts with `outer`, and with `error(reason)`, a `TransientError` by default, after `milliseconds` in
 * which `heard` was not called or heard of fewer bytes than `SLOWEST` a second. `stop` it when the connection is done,
 * or it keeps the process alive.
 */
export class StallWatch {
  private readonly controller = new AbortController();
  private readonly onAbort = (): void => this.controller.abort(this.outer!.reason);
  private readonly timer: NodeJS.Timeout;
  /** When the bytes that count began to come, and how many have come since. */
  private since = performance.now();
  private bytes = 0;

  constructor(
    private readonly milliseconds: number,
    private readonly outer: AbortSignal | undefined,
    private readonly error: (reason: string) => Error = (reason) => new TransientError(reason),
  ) {
    const silent = error(`nothing came for ${milliseconds / 1000} s`);
    this.timer = setTimeout(() => this.controller.abort(silent), milliseconds);
    if (outer?.aborted) this.onAbort();
    else outer?.addEventListener("abort", this.onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** So many bytes came (default: enough): the silence begins anew, and once `milliseconds` are over, the count. */
  heard(bytes = Infinity): void {
    this.timer.refresh();
    this.bytes += bytes;
    const seconds = (performance.now() - this.since) / 1000;
    if (seconds < this.milliseconds / 1000) return;
    if (this.bytes < SLOWEST * seconds) {
      this.controller.abort(this.error(`only ${this.bytes} bytes came in ${seconds.toFixed(0)} s`));
    }
    this.since = performance.now();
    this.bytes = 0;
  }

  /** Does work that the other side is not waited for in: its time does not count. */
  async aside(work: () => Promise<void> | void): Promise<void> {
    const start = performance.now();
    await work();
    this.timer.refresh();
    this.since += performance.now() - start;
  }

  stop(): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.onAbort);
  }
}
