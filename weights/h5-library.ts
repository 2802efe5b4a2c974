import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type * as h5wasm from "h5wasm";
import { reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";

/** The HDF5 library in WebAssembly. */
export type H5Library = Awaited<typeof h5wasm.ready>;

/** Makes an instance of the library; the package keeps one of its own, which could not be given up. */
type Factory = (options: { noInitialRun: boolean }) => Promise<H5Library>;

/** The instance that files are opened with, on its way and there. */
let loading: Promise<H5Library> | null = null;
let loaded: H5Library | null = null;

/**
 * The library, loaded when first needed: 4 MB of WebAssembly. It is the build for browsers, which sees no file of the
 * machine but those that are mounted. Another instance than before where `giveUp` was called.
 */
export function h5Library(): Promise<H5Library> {
  loading ??= newLibrary();
  return loading;
}

async function newLibrary(): Promise<H5Library> {
  const { default: factory } = (await import(pathToFileURL(factoryFile()).href)) as { default: Factory };
  loaded = await factory({ noInitialRun: true });
  return loaded;
}

/**
 * The package exports its own instance alone, and offers nothing to `require`: its folder is looked for where packages
 * are.
 */
function factoryFile(): string {
  const folders = createRequire(import.meta.url).resolve.paths("h5wasm") ?? [];
  const files = folders.map((folder) => join(folder, "h5wasm", "dist", "esm", "hdf5_util.js"));
  const file = files.find((path) => existsSync(path));
  if (file) return file;
  throw new WeightsError("h5wasm, which reads Keras weights, is not installed; run npm install again");
}

/** Lets files that are opened from now on have a fresh instance; those that are open keep theirs. */
export function giveUp(library: H5Library): void {
  if (library === loaded) [loading, loaded] = [null, null];
}

type Terminal = { ops: { put_char(terminal: object, byte: number): void } };

/**
 * Calls the library. What it throws, traps included, becomes a `WeightsError` that begins with `what` and gives the
 * reason: `fault()` where that is not null, else what the library writes to its stderr, which stays its own. So does
 * what it reports there and passes over: a list of names would be shorter, and nobody told. Whatever has thrown is
 * given up, for its stack is not unwound: after some thousands of errors every call would trap.
 */
export function calling<T>(library: H5Library, what: string, fault: () => string | null, run: () => T): T {
  const written: number[] = [];
  const streams = library.FS as unknown as { getStream(number: number): { tty: Terminal } };
  const { tty } = streams.getStream(2);
  const { ops } = tty;
  tty.ops = { ...ops, put_char: (_, byte) => void written.push(byte) };
  const failed = (reason: string): WeightsError => new WeightsError(`${what} (${fault() ?? reason})`);
  try {
    const result = run();
    const reported = innermost(written);
    if (reported !== null) throw failed(reported);
    return result;
  } catch (error) {
    if (error instanceof WeightsError) throw error;
    giveUp(library);
    throw failed(innermost(written) ?? reasonOf(error));
  } finally {
    tty.ops = ops;
  }
}

/** The last of the causes that HDF5 lists: "  #004: file.c line 12 in H5F_open(): truncated file: eof = 3". */
function innermost(written: readonly number[]): string | null {
  const text = Buffer.from(written).toString("latin1");
  return [...text.matchAll(/^\s*#\d+: .*?\(\): (.*)$/gm)].at(-1)?.[1] ?? null;
}
