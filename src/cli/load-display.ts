import { SingleBar } from "cli-progress";

import type { ModelProgress } from "../model-place.js";

/** Without a terminal, a line about a download is written this often at most, in milliseconds. */
const EVERY = 10_000;

/** Shows on stderr how a model arrives: a bar for each phase on a terminal, else a line now and then while it is downloaded. */
export class LoadDisplay {
  private bar: SingleBar | null = null;
  private last: ModelProgress | null = null;
  private written = performance.now();

  constructor(private readonly stream: NodeJS.WriteStream = process.stderr) {}

  show(progress: ModelProgress): void {
    const { phase, loadedBytes, totalBytes } = progress;
    if (this.last?.phase !== phase) this.end();
    this.last = progress;
    if (this.stream.isTTY) {
      this.bar ??= this.started(progress);
      this.bar.update(megabytes(loadedBytes));
      return;
    }
    if (phase === "load" || performance.now() - this.written < EVERY) return;
    this.written = performance.now();
    this.stream.write(`downloading: ${megabytes(loadedBytes)}/${megabytes(totalBytes)} MB\n`);
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

  private started({ phase, loadedBytes, totalBytes }: ModelProgress): SingleBar {
    const [doing, left] = phase === "download" ? ["downloading", " {eta_formatted}"] : ["loading", ""];
    const bar = new SingleBar({
      format: `${doing} {bar} {percentage}% {value}/{total} MB${left}`,
      stream: this.stream,
      clearOnComplete: true,
      hideCursor: true,
    });
    bar.start(megabytes(totalBytes), megabytes(loadedBytes));
    return bar;
  }
}

const megabytes = (bytes: number): number => Math.round(bytes / 1e6);
