import { execFile } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** Time for the processes to start and to fill their memory. */
const LEAD_MILLISECONDS = 4000;
/** Bytes: far beyond any cache. */
const LARGE = 2 ** 29;

/**
 * How fast all cores together read memory, in GB/s: one process for each compares two large blocks again and again, which
 * the C library does at the memory's pace (`memcmp`), all of them during the same two seconds.
 */
export async function memoryBandwidth(): Promise<number> {
  const startAt = String(Date.now() + LEAD_MILLISECONDS);
  const program = fileURLToPath(new URL("read-memory.ts", import.meta.url));
  const blockBytes = String(Math.min(LARGE, Math.floor(totalmem() / 8 / cpus().length)));
  const args = ["--import", import.meta.resolve("tsx"), program, startAt, blockBytes];
  const outputs = await Promise.all(cpus().map(() => promisify(execFile)(process.execPath, args)));
  return outputs.reduce((sum, { stdout }) => sum + Number(stdout), 0);
}
