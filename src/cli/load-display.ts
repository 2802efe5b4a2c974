import { SingleBar } from "cli-progress";

import type { ModelProgress } from "../loading/resolve-model.js";
import { controlsOf } from "./terminal.js";

/** Without a terminal, a line about a download is written this often at most, in milliseconds. */
const EVERY = 10_000;

/**
 * Shows on stderr how a model arrives: a bar for each phase on a terminal, else a line now and then while it is
 * downloaded.
 */
export class LoadDisplay {
  private bar: SingleBar | null = null;
  /** Where the phase began, and when. */
  private first: ModelProgress | null = null;
  private start: number;
  private written: number;

  constructor(
    private readonly stream: NodeJS.WriteStream = process.stderr,
    private readonly now: () => number = () => performance.now(),
    private readonly doing = "loading", // what is done with the weights once they are there
  ) {
    this.start = this.written = now();
  }

  show(progress: ModelProgress): void {
    const { phase, loadedBytes, totalBytes } = progress;
    if (this.first?.phase !== phase) {
      this.end();
      this.first = progress;
      this.start = this.now();
    }
    if (this.stream.isTTY) {
      this.bar ??= this.started(progress);
      this.bar.update(megabytes(loadedBytes), { left: this.left(progress) });
      return;
    }
    if (phase === "load" || this.now() - this.written < EVERY) return;
    this.written = this.now();
    this.stream.write(
      `downloading: ${megabytes(loadedBytes)}/${megabytes(totalBytes)} MB, ${this.left(progress)} left\n`,
    );
  }

  /** Says something beside the progress. */
  note(text: string): void {
    this.end();
    this.stream.write(`${text}\n`);
  }

  /** Leaves the terminal as it was. */
  end(): void {
    this.bar?.stop();
    this.bar = null;
  }

  private started(progress: ModelProgress): SingleBar {
    const { phase, loadedBytes, totalBytes } = progress;
    const [doing, left] = phase === "download" ? ["downloading", ", {left} left"] : [this.doing, ""];
    const bar = new SingleBar({
      format: `${doing} {bar} {percentage}% {value}/{total} MB${left}`,
      stream: controlsOf(this.stream),
      clearOnComplete: true,
      hideCursor: true,
    });
    bar.start(megabytes(totalBytes), megabytes(loadedBytes), { left: this.left(progress) });
    return bar;
  }

  /** At the mean speed of this phase. */
  private left({ loadedBytes, totalBytes }: ModelProgress): string {
    const speed = (loadedBytes - this.first!.loadedBytes) / (this.now() - this.start);
    const seconds = (totalBytes - loadedBytes) / speed / 1000;
    if (!Number.isFinite(seconds) || seconds < 0) return "?";
    return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
  }
}

const megabytes = (bytes: number): number => Math.round(bytes / 1e6);
