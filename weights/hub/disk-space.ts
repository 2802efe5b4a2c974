import { statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { WeightsError } from "../errors.js";

/**
 * Bytes that the file system of `folder`, which need not exist yet, has free for this user; null where it does not say.
 */
export async function freeBytes(folder: string): Promise<number | null> {
  for (let path = folder; ; path = dirname(path)) {
    const found = await statfs(path).catch(() => null);
    if (found) return found.bavail * found.bsize;
    if (path === dirname(path)) return null;
  }
}

/** Throws `WeightsError` where `folder` has less than `needed` bytes free, with both figures. */
export async function requireSpace(folder: string, needed: number, free: typeof freeBytes = freeBytes): Promise<void> {
  const available = await free(folder);
  if (available === null || needed <= available) return;
  throw new WeightsError(
    `${folder}: the download needs ${gigabytes(needed)} of disk, ${gigabytes(available)} are free; ` +
      `make room, or let HF_HUB_CACHE or --dir name a place that has it`,
  );
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(2)} GB`;
