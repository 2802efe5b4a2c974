import { readFileSync } from "node:fs";

/**
 * Bytes of this process: the peak, and what is resident now, of its own and mapped from files (0 where the system does
 * not say).
 */
export type Resident = { peakBytes: number; ownBytes: number; fileBytes: number };

/** Reads the kernel's account of this process. */
export function resident(): Resident {
  const status = statusFile();
  if (status === null) return { peakBytes: process.resourceUsage().maxRSS * 1024, ownBytes: 0, fileBytes: 0 };
  const bytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return { peakBytes: bytes("VmHWM"), ownBytes: bytes("RssAnon"), fileBytes: bytes("RssFile") };
}

function statusFile(): string | null {
  try {
    return readFileSync("/proc/self/status", "utf8");
  } catch {
    return null; // not Linux
  }
}
