import { freemem } from "node:os";

import { WeightsError } from "./errors.js";

/** Bytes that this process may still take, a container's limit included where Node knows it (20.13 and later). */
export function availableBytes(): number {
  const known = (process as { availableMemory?: () => number }).availableMemory?.();
  return known === undefined || known === 0 ? freemem() : Math.min(known, freemem());
}

/** Bytes in words: "1.5 GB". */
export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/** Throws `WeightsError` naming `where` unless so many bytes are available: a file may claim, or unpack to, far more than it has. */
export function requireMemoryFor(where: string, bytes: number, available = availableBytes()): void {
  if (bytes <= available) return;
  throw new WeightsError(
    `${where}: what it holds needs ${gigabytes(bytes)} of memory, available ${gigabytes(available)}; is the file damaged?`,
  );
}
