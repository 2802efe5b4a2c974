import { SingleBar } from "cli-progress";

import type { BatchProgress } from "../jobs/run-batch.js";
import { controlsOf } from "./terminal.js";

/** Without a terminal, a line about the progress is written this often at most, in milliseconds. */
const EVERY = 10_000;

/** Shows a batch on stderr: a bar on a terminal, else a line now and then. */
export class BatchDisplay {
  private readonly bar: SingleBar | null;
  private progress: BatchProgress | null = null;
  private start = performance.now();
  private written = -Infinity;

  constructor(private readonly stream: NodeJS.WriteStream) {
    const format = "{bar} {value}/{total} lines | {rate} | {errors} errors | {skipped} there already | {left} left";
    this.bar = stream.isTTY ? new SingleBar({ format, stream: controlsOf(stream), hideCursor: true }) : null;
  }

  /** What a line takes is counted from here on: loading weights is no part of it. */
  startClock(): void {
    this.start = performance.now();
  }

  /** Lines that this run has answered or refused, by the seconds since the clock was started; 0 before the first. */
  get linesPerSecond(): number {
    const { answered, errors } = this.progress ?? { answered: 0, errors: 0 };
    const seconds = (performance.now() - this.start) / 1000;
    return Number(((answered + errors) / seconds).toPrecision(3));
  }

  /** Shows how far the run is. */
  show(progress: BatchProgress): void {
    const first = this.progress === null;
    this.progress = progress;
    const { lines, skipped, answered, errors } = progress;
    const done = skipped + answered + errors;
    if (this.bar) {
      const left = this.linesPerSecond > 0 ? duration((lines - done) / this.linesPerSecond) : "?";
      const payload = { rate: `${this.linesPerSecond} lines/s`, errors, skipped, left };
      if (first) this.bar.start(lines, done, payload);
      else this.bar.update(done, payload);
      return;
    }
    if (performance.now() - this.written < EVERY && done < lines) return;
    this.written = performance.now();
    this.stream.write(
      `${done}/${lines} lines, ${this.linesPerSecond} lines/s, ${errors} errors, ${skipped} there already\n`,
    );
  }

  /** Says something beside the progress. */
  note(text: string): void {
    this.stream.write(`${text}\n`);
  }

  /** Leaves the terminal as it was. */
  end(): void {
    this.bar?.stop();
  }
}

function duration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min` : `${Math.ceil(seconds)} s`;
}
