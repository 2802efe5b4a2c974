import { closeSync, fstatSync, readSync } from "node:fs";
import { reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";
import { changedFile, versionOf } from "./file-version.js";
import { NotAFileError, openPlainSync } from "./plain-file.js";

/** The part of Emscripten's file system that a mount needs. Source: emscripten, src/lib/libfs.js. */
export interface WasmFileSystem {
  mkdir(path: string): unknown;
  rmdir(path: string): void;
  mount(type: { mount(): WasmNode }, options: object, path: string): unknown;
  unmount(path: string): void;
  createNode(parent: WasmNode | null, name: string, mode: number, device: number): WasmNode;
  ErrnoError: new (code: number) => Error;
}
type WasmNode = { id: number; mode: number; node_ops: object; stream_ops: object };
type Stream = { position: number };

/** Modes of a folder and of a file that may only be read; and error numbers of WASI. */
const FOLDER = 0o40555;
const FILE = 0o100444;
const [NO_ENTRY, INVALID, IO] = [44, 28, 29];

const NAME = "file.h5";
let mounts = 0;

/** A file as the library inside WebAssembly sees it. */
export type MountedFile = {
  path: string;
  size: number;
  /** What went wrong below a read, which the library reports without its reason; null while nothing did. */
  fault(): string | null;
  /** Throws `WeightsError` where the file was changed since it was mounted. */
  requireUnchanged(): void;
  unmount(): void;
};

/**
 * Shows one file on disk to a program in WebAssembly, alone in a folder of its own, to be read by ranges: whatever a
 * file names inside, there is no other to open. Throws `WeightsError` when it cannot be opened. Blocks while it reads.
 */
export function mountFile(fs: WasmFileSystem, path: string): MountedFile {
  const { handle, size, version } = openFile(path);
  let fault: string | null = null;
  const attributes = (node: WasmNode) => () => ({
    ...{ dev: 1, ino: node.id, mode: node.mode, nlink: 1, uid: 0, gid: 0, rdev: 0, size },
    ...{ atime: new Date(0), mtime: new Date(0), ctime: new Date(0), blksize: 4096, blocks: Math.ceil(size / 4096) },
  });
  const read = (_: Stream, buffer: Uint8Array, offset: number, length: number, position: number): number => {
    try {
      const wanted = Math.min(length, size - position);
      return wanted <= 0 ? 0 : readSync(handle, buffer, offset, wanted, position);
    } catch (error) {
      fault = reasonOf(error);
      throw new fs.ErrnoError(IO);
    }
  };
  const llseek = (stream: Stream, offset: number, whence: number): number => {
    const position = offset + [0, stream.position, size][whence];
    if (!(position >= 0)) throw new fs.ErrnoError(INVALID);
    return position;
  };
  const mount = (): WasmNode => {
    const root = fs.createNode(null, "/", FOLDER, 0);
    const file = fs.createNode(root, NAME, FILE, 0);
    const lookup = (_: WasmNode, name: string): WasmNode => {
      if (name === NAME) return file;
      throw new fs.ErrnoError(NO_ENTRY);
    };
    Object.assign(root, { node_ops: { lookup, getattr: attributes(root) }, stream_ops: {} });
    return Object.assign(file, { node_ops: { getattr: attributes(file) }, stream_ops: { read, llseek } }) && root;
  };
  const folder = `/paligemma-${mounts++}`;
  fs.mkdir(folder);
  fs.mount({ mount }, {}, folder);
  const unmount = (): void => {
    fs.unmount(folder);
    fs.rmdir(folder);
    closeSync(handle);
  };
  const requireUnchanged = (): void => {
    if (versionOf(fstatSync(handle, { bigint: true })) !== version) throw changedFile(path);
  };
  return { path: `${folder}/${NAME}`, size, fault: () => fault, requireUnchanged, unmount };
}

function openFile(path: string): { handle: number; size: number; version: string } {
  try {
    const { descriptor, info } = openPlainSync(path);
    return { handle: descriptor, size: Number(info.size), version: versionOf(info) };
  } catch (error) {
    if (error instanceof NotAFileError) throw new WeightsError(`${path}: expected a file, found ${error.kind}`);
    throw new WeightsError(`${path}: cannot be opened (${reasonOf(error)})`);
  }
}
