import { createHash, type Hash } from "node:crypto";
import { open } from "node:fs/promises";
import type { HubFile } from "./listing.js";

/** Bytes of a file that are read at once. */
const PIECE = 2 ** 22;

/**
 * A digest that becomes a file's etag when it is fed the whole file: SHA-256 of large files (64 hex digits), git's
 * SHA-1 of `blob {size}\0{bytes}` of the others (40). Source: git, Documentation/gitformat-pack; huggingface_hub,
 * utils/sha.py.
 */
export function digestFor({ etag, size }: Pick<HubFile, "etag" | "size">): Hash {
  if (etag.length === 64) return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`);
}

/** Feeds the file at `path` to `digest` and returns its length. Throws the system's error, and the signal's reason. */
export async function feedFile(path: string, digest: Hash, signal?: AbortSignal): Promise<number> {
  const handle = await open(path, "r");
  try {
    const piece = Buffer.allocUnsafe(PIECE);
    for (let length = 0; ;) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(piece, 0, PIECE, length);
      if (bytesRead === 0) return length;
      digest.update(piece.subarray(0, bytesRead));
      length += bytesRead;
    }
  } finally {
    await handle.close();
  }
}
