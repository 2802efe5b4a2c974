/** Bytes that can be read by range: a file, something behind a URL, or memory. */
export interface ByteSource {
  /** What errors call it: a path, a URL or a given name. */
  readonly name: string;
  /** Length in bytes. */
  readonly size: number;
  /** The file on disk that it is, open for reading until `close`; not there for any other source. */
  readonly file?: OpenFile | undefined;
  /**
   * Bytes `start` to `end` (exclusive) in a fresh buffer: exactly that many, or a `WeightsError` naming file and range.
   */
  read(start: number, end: number): Promise<Uint8Array>;
  /** Frees what the source holds; reading afterwards is an error. */
  close(): Promise<void>;
}

/** A file on disk that is open: `version` tells whether it is still what it was when it was opened. */
export interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  /** "device:inode:size:nanoseconds of its last change". */
  readonly version: string;
}

/**
 * A model folder, on disk or behind a URL. A file name may not lead out of it: every method throws `WeightsError` on
 * one that does.
 */
export interface Folder {
  /** The path or URL as errors show it. */
  readonly name: string;
  /** The absolute path of a folder on disk; null behind a URL. */
  readonly localPath: string | null;
  /** The weight file that was asked for by its name; undefined where the folder was. */
  readonly weightFile?: string | undefined;
  /** How messages speak of a folder on the Hub: the command that brings it onto the disk, and the address of a file. */
  readonly hub?: { readonly download: string; readonly addressOf: (file: string) => string } | undefined;
  /** Names of what lies directly in the folder, in order; not there where it cannot be listed, as behind a URL. */
  readonly list?: (() => Promise<string[]>) | undefined;
  /** Opens a file for range reads; throws `WeightsError` when it is not there. The caller closes it. */
  open(file: string): Promise<ByteSource>;
  /** Whether the file is there; throws `WeightsError` when that cannot be found out. */
  has(file: string): Promise<boolean>;
  /** A small JSON file, parsed; throws `WeightsError` when it is missing, too long or not JSON. */
  readJson(file: string): Promise<unknown>;
  /**
   * A whole file of at most `limit` bytes (default `MAX_WHOLE_FILE`); throws `WeightsError` when it is missing or
   * longer.
   */
  readBytes(file: string, limit?: number): Promise<Uint8Array>;
}
