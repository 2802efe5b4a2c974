import type * as h5wasm from "h5wasm";
import { reasonOf } from "./bytes.js";
import { WeightsError } from "./errors.js";

/** The HDF5 library in WebAssembly. */
export type H5Library = Awaited<typeof h5wasm.ready>;

/**
 * The library, loaded when first needed: 4 MB of WebAssembly. It is the build for browsers, which sees no file of the machine but
 * those that are mounted.
 */
export const h5Library = async (): Promise<H5Library> => (await import("h5wasm")).ready;

type Terminal = { ops: { put_char(terminal: object, byte: number): void } };

/**
 * Calls the library. What it throws, traps included, becomes a `WeightsError` that begins with `what` and gives the reason: `fault()` where
 * that is not null, else what the library writes to its stderr, which stays its own.
 */
export function calling<T>(library: H5Library, what: string, fault: () => string | null, run: () => T): T {
  const written: number[] = [];
  const streams = library.FS as unknown as { getStream(number: number): { tty: Terminal } };
  const { tty } = streams.getStream(2);
  const { ops } = tty;
  tty.ops = { ...ops, put_char: (_, byte) => void written.push(byte) };
  try {
    return run();
  } catch (error) {
    if (error instanceof WeightsError) throw error;
    throw new WeightsError(`${what} (${fault() ?? innermost(written) ?? reasonOf(error)})`);
  } finally {
    tty.ops = ops;
  }
}

/** The last of the causes that HDF5 lists: "  #004: file.c line 12 in H5F_open(): truncated file: eof = 3". */
function innermost(written: readonly number[]): string | null {
  const text = Buffer.from(written).toString("latin1");
  return [...text.matchAll(/^\s*#\d+: .*?\(\): (.*)$/gm)].at(-1)?.[1] ?? null;
}
