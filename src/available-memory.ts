import { freemem } from "node:os";

/** Bytes that this process may still take, a container's limit included where Node knows it (20.13 and later). */
export function availableBytes(): number {
  const known = (process as { availableMemory?: () => number }).availableMemory?.();
  return known === undefined || known === 0 ? freemem() : Math.min(known, freemem());
}

/** Bytes in words: "1.5 GB". */
export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
