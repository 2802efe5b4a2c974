import { fstat, type BigIntStats } from "node:fs";
import { promisify } from "node:util";

import { WeightsError } from "./errors.js";

/**
 * What tells one content of a file from another without reading it: "device:inode:size:nanoseconds of its last change".
 */
export const versionOf = ({ dev, ino, size, mtimeNs }: BigIntStats): string => `${dev}:${ino}:${size}:${mtimeNs}`;

const statOf = promisify(fstat) as (descriptor: number, options: { bigint: true }) => Promise<BigIntStats>;

/** The error of a file that is another than when it was opened. */
export const changedFile = (path: string, what = "it was written to while it was in use"): WeightsError =>
  new WeightsError(
    `${path}: expected the file as it was when it was opened, ${what}; load it again when it is complete`,
  );

/** Throws `WeightsError` naming the file where that of the descriptor was changed since it had `version`. */
export async function requireVersion(path: string, descriptor: number, version: string): Promise<void> {
  const found = versionOf(await statOf(descriptor, { bigint: true }));
  if (found !== version) throw changedFile(path);
}
