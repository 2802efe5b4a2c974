import type { Hash } from "node:crypto";
import { type FileHandle, open, stat } from "node:fs/promises";
import { reasonOf } from "../bytes.js";
import { WeightsError } from "../errors.js";
import { digestFor, feedFile } from "./checksum.js";
import type { HubFile } from "./listing.js";

/**
 * The part of a file that has arrived, on disk, with the digest of it. Bytes are written at their own places: should
 * two processes ever write one partial, they write the same bytes to it.
 */
export class PartialFile {
  private constructor(
    private readonly handle: FileHandle,
    readonly path: string,
    private readonly file: HubFile,
    private digest: Hash,
    private at: number,
  ) {}

  /**
   * Opens `path`, going on where it ends. Throws `WeightsError` where it cannot be written, and the signal's reason.
   */
  static async open(path: string, file: HubFile, signal?: AbortSignal): Promise<PartialFile> {
    try {
      const digest = digestFor(file);
      const found = await stat(path).catch(() => null);
      // One that is longer is none of this file.
      const length = found !== null && found.size <= file.size ? await feedFile(path, digest, signal) : 0;
      const handle = await open(path, length > 0 ? "r+" : "w");
      return new PartialFile(handle, path, file, digest, length);
    } catch (error) {
      signal?.throwIfAborted();
      throw new WeightsError(`${path}: cannot be written (${reasonOf(error)})`);
    }
  }

  /** Bytes that are there. */
  get length(): number {
    return this.at;
  }

  /** Throws `WeightsError` where writing fails; what arrived before stays. */
  async append(piece: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < piece.length;) {
        done += (await this.handle.write(piece, done, piece.length - done, this.at + done)).bytesWritten;
      }
    } catch (error) {
      const full = (error as NodeJS.ErrnoException).code === "ENOSPC";
      const advice = full ? "make room and run it again, it goes on from there" : "what has arrived is kept";
      throw new WeightsError(`${this.path}: cannot be written (${reasonOf(error)}); ${advice}`);
    }
    this.digest.update(piece);
    this.at += piece.length;
  }

  /** Forgets every byte. */
  async restart(): Promise<void> {
    await this.handle.truncate(0);
    this.digest = digestFor(this.file);
    this.at = 0;
  }

  /** Whether the whole file is there and is what its etag says; then it is safely on the disk. Ends the digest. */
  async isWhole(): Promise<boolean> {
    if (this.at !== this.file.size || this.digest.digest("hex") !== this.file.etag) return false;
    await this.handle.sync();
    return true;
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}
