import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, watch } from "node:fs";
import path from "node:path";

import { packageRoot } from "../../src/base/package-root.js";

/** How a process has ended, and what it wrote. */
export type Ended = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

/** A command line in a process of its own. */
export class CliProcess {
  readonly ended: Promise<Ended>;
  private readonly child: ChildProcess;

  constructor(...args: string[]) {
    this.child = spawn(process.execPath, ["--import", "tsx", path.join("src", "cli.ts"), ...args], {
      cwd: packageRoot(),
    });
    const written = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      this.child[name]!.on("data", (piece: Buffer) => (written[name] += piece.toString()));
    }
    this.ended = once(this.child, "close").then(([code, signal]) => ({ code, signal, ...written }) as Ended);
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Resolves when a file, which this process writes, has so many lines; rejects when the process ends before. */
  async hasWritten(file: string, lines: number): Promise<void> {
    const reached = () => existsSync(file) && readFileSync(file).filter((byte) => byte === 10).length >= lines;
    const stop = new AbortController();
    const watcher = watch(path.dirname(file), { signal: stop.signal });
    const seen = new Promise<void>((resolve) => watcher.on("change", () => reached() && resolve()));
    try {
      if (reached()) return;
      const early = this.ended.then(({ stderr }) => {
        throw new Error(`${file}: the process ended before it had ${lines} lines\n${stderr}`);
      });
      await Promise.race([seen, early]);
    } finally {
      stop.abort();
    }
  }
}
