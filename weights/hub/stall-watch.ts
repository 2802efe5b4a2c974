import { TransientError } from "./connection.js";

/**
 * A signal that aborts with `outer`, and with a `TransientError` after `milliseconds` in which `heard` was not called.
 * `stop` it when the connection is done, or it keeps the process alive.
 */
export class StallWatch {
  private readonly controller = new AbortController();
  private readonly onAbort = (): void => this.controller.abort(this.outer!.reason);
  private readonly timer: NodeJS.Timeout;

  constructor(
    milliseconds: number,
    private readonly outer: AbortSignal | undefined,
  ) {
    const silent = new TransientError(`nothing came for ${milliseconds / 1000} s`);
    this.timer = setTimeout(() => this.controller.abort(silent), milliseconds);
    if (outer?.aborted) this.onAbort();
    else outer?.addEventListener("abort", this.onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /** Something came: the silence begins anew. */
  heard(): void {
    this.timer.refresh();
  }

  stop(): void {
    clearTimeout(this.timer);
    this.outer?.removeEventListener("abort", this.onAbort);
  }
}
