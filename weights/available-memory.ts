import { WeightsError } from "./errors.js";

let measure = (): number => Infinity;

/**
 * Bytes that this process may still take: what the platform has registered (`node-memory.ts`), else no limit is known,
 * as in a browser.
 */
export const availableBytes = (): number => measure();

/** Registers how the platform measures them. */
export const measureMemoryBy = (reader: () => number): void => void (measure = reader);

/** Bytes in words: "1.5 GB". */
export const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

/**
 * Throws `WeightsError` naming `where` unless so many bytes are available: a file may claim, or unpack to, far more
 * than it has.
 */
export function requireMemoryFor(where: string, bytes: number, available = availableBytes()): void {
  if (bytes <= available) return;
  throw new WeightsError(
    `${where}: what it holds needs ${gigabytes(bytes)} of memory, available ${gigabytes(available)}; is the file damaged?`,
  );
}
