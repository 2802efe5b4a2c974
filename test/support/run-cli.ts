import { runCli } from "../../src/cli/program.js";

/** What one command printed, and its exit code. */
export type CliResult = { code: number; stdout: string; stderr: string };

/** Runs the command line inside this process, so that a test costs no start of Node. */
export async function cli(...args: string[]): Promise<CliResult> {
  const result: CliResult = { code: 0, stdout: "", stderr: "" };
  const streams = ["stdout", "stderr"] as const;
  const originals = streams.map((name) => process[name].write);
  for (const name of streams) {
    process[name].write = ((text: string | Uint8Array) => {
      result[name] += Buffer.from(text as string).toString();
      return true;
    }) as typeof process.stdout.write;
  }
  try {
    result.code = await runCli(args);
  } finally {
    streams.forEach((name, i) => (process[name].write = originals[i]));
  }
  return result;
}
