import { Module } from "node:module";
import { constants } from "node:os";

/** Keeps a library in the process when the last handle to it is closed. Source: dlfcn.h of glibc, musl and macOS. */
const RTLD_NODELETE = process.platform === "darwin" ? 0x80 : process.platform === "win32" ? 0 : 0x1000;

/**
 * Requires a native addon and keeps it in the process for good. Node unloads an addon with the last worker that used
 * it; TensorFlow stays, with the operations that the addon registered and threads that run its code, and ends the
 * process when it is loaded again. A second call with the same `require` returns what the first one opened; throws what
 * `process.dlopen` throws.
 */
export function openPinned(require: NodeJS.Require, file: string): unknown {
  const place = require.resolve(file); // links followed, as any other `require` of it does
  const cached = require.cache[place];
  if (cached) return cached.exports;
  const opened = new Module(place);
  opened.filename = place;
  process.dlopen(opened, place, constants.dlopen.RTLD_LAZY | RTLD_NODELETE);
  opened.loaded = true;
  require.cache[place] = opened;
  return opened.exports;
}
