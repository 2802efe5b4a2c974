import { spawn } from "node:child_process";

/** How a command is run. */
export interface RunOptions {
  cwd?: string;
  env?: NodeJS.ProcessEnv | undefined;
  /** After so many milliseconds the command is ended. */
  timeoutMs?: number;
}

/**
 * How a command ended; `code` is 127 when it was not found, and null when it was ended by a signal or by its time
 * limit.
 */
export interface RunResult {
  code: number | null;
  stdout: string;
  stderr: string;
  timedOut: boolean;
}

/** Runs a command to its end. It never rejects, so that every caller says in its own words what went wrong. */
export type Run = (command: string, args: string[], options?: RunOptions) => Promise<RunResult>;

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Runs a command without a shell and without input, and keeps what it prints. */
export const run: Run = (command, args, options = {}) =>
  new Promise((resolve) => {
    // Its own process group (not on Windows), so that the time limit also ends what the command has started.
    const detached = process.platform !== "win32";
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      stdio: ["ignore", "pipe", "pipe"],
      detached,
    });
    const result: RunResult = { code: null, stdout: "", stderr: "", timedOut: false };
    const end = (): void => endGroup(child.pid, detached);
    const timer = options.timeoutMs
      ? setTimeout(() => {
          result.timedOut = true;
          end();
        }, options.timeoutMs)
      : undefined;
    const interrupted = (_signal: NodeJS.Signals, number: number): void => {
      end();
      process.exit(128 + number);
    };
    // The child is in another group, so the terminal's Ctrl-C does not reach it.
    for (const signal of SIGNALS) process.once(signal, interrupted);
    child.stdout.setEncoding("utf8").on("data", (text: string) => (result.stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (result.stderr += text));
    const finish = (code: number | null, stderr = ""): void => {
      clearTimeout(timer);
      for (const signal of SIGNALS) process.off(signal, interrupted);
      resolve({ ...result, code, stderr: result.stderr + stderr });
    };
    child.on("error", (error) => finish(127, error.message));
    child.on("close", (code) => finish(code));
  });

function endGroup(pid: number | undefined, group: boolean): void {
  if (pid === undefined) return;
  try {
    process.kill(group ? -pid : pid, "SIGKILL");
  } catch {
    // It ended by itself in between.
  }
}

/** The last lines of what a command printed, stderr first: what a person needs to see of a failure. */
export function tail(result: RunResult, lines = 8): string {
  const text = (result.stderr.trim() || result.stdout.trim() || `exit code ${result.code}`).split("\n");
  return text.slice(-lines).join("\n");
}

/** The one line of what a failed command has printed that says most. */
export function mainLine(text: string): string {
  const lines = text.trim().split("\n");
  return (lines.find((line) => /error/i.test(line)) ?? lines.at(-1)!).trim();
}
