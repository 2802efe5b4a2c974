import { spawnSync } from "node:child_process";
import { createReadStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";

/**
 * Takes a checkpoint's weights out of the system's cache, without rights over other files: dd asks the kernel to forget
 * one file. A page that another process has mapped stays.
 */
export async function dropFromCache(folder: string): Promise<void> {
  for (const file of await weightFiles(folder))
    spawnSync("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"]);
}

/** Reads a checkpoint's weights once, so that they are in the system's cache, as far as they fit. */
export async function readIntoCache(folder: string): Promise<void> {
  for (const file of await weightFiles(folder)) {
    for await (const piece of createReadStream(file, { highWaterMark: 2 ** 24 })) void piece;
  }
}

/**
 * Share of a checkpoint's weights that lies in the system's cache; null where the system does not say (no `fincore`).
 */
export async function cachedShare(folder: string): Promise<number | null> {
  const arguments_ = ["--bytes", "--noheadings", "--raw", "-o", "RES,SIZE", ...(await weightFiles(folder))];
  const { status, stdout } = spawnSync("fincore", arguments_, { encoding: "utf8" });
  if (status !== 0) return null;
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const total = (column: number) => rows.reduce((sum, row) => sum + row[column], 0);
  return total(0) / total(1);
}

async function weightFiles(folder: string): Promise<string[]> {
  const files = await readdir(folder);
  return files.filter((file) => file.endsWith(".safetensors")).map((file) => join(folder, file));
}
