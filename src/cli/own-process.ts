import { onMaking, removeTemporaries } from "../../weights/temporary.js";
import { controlsOf, guardTerminal } from "./terminal.js";

/** Signals that end a program, and may end it while something is half written. */
const ENDING = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Prepares a process that is this program's own, before anything else: terminals show no control characters of what is
 * printed, also of warnings and of errors that nothing has caught; a signal that comes while something is written
 * removes it, and then ends the process as it always does; a limit of the size of files is an error of writing.
 */
export function ownProcess(): void {
  guardTerminal(process.stdout);
  guardTerminal(process.stderr);
  // Node prints both around process.stderr.
  if (process.listenerCount("warning") > 0) {
    process.removeAllListeners("warning").on("warning", ({ message }) => say(`warning: ${message}`));
  }
  process.on("uncaughtException", (error: unknown) => {
    const { message = String(error), stack } = error instanceof Error ? error : {};
    say(process.argv.includes("--debug") && stack ? stack : `error: ${message}`);
    process.exit(1);
  });
  // While nothing is written the system ends the process, at once even in the midst of a computation.
  onMaking((making) => ENDING.forEach((signal) => (making ? process.on : process.off).call(process, signal, endedBy)));
  if (process.platform !== "win32") process.on("SIGXFSZ", () => {});
}

const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** Ends the process where no command listens itself: a batch ends in order at the first signal. */
function endedBy(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  removeTemporaries();
  if (process.stderr.isTTY) controlsOf(process.stderr).write("\u001b[?25h"); // a bar has hidden the cursor
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}
