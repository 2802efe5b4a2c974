import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { packageRoot } from "../../base/package-root.js";
import { list } from "./layout.js";
import { openPinned } from "./pinned.js";

/** What the project's own addon offers; see native/addon.cc. Regions and weights are numbers. */
export interface KernelAddon {
  /**
   * Maps the file of a descriptor, which stays the caller's, and returns its region; throws where it is no longer of
   * that version.
   */
  map(descriptor: number, version: string): number;
  /** What happened to the file of a region since it was opened, "" for nothing; also of a region that is closed. */
  fault(region: number): string;
  /** Calls `work` while no other thread of the process is inside such a call, and returns what it returns. */
  exclusively<Result>(work: () => Result): Result;
  /** A region that owns a copy of the bytes. */
  copy(bytes: Uint8Array): number;
  /** Forgets a region; what lies in it keeps it alive. */
  close(region: number): void;
  /** The number of a matrix [rows, cols] of TensorFlow's type `dtype`, for the op PaligemmaHold. */
  weight(region: number, offset: number, dtype: number, rows: number, cols: number): number;
  /** The same for a matrix of 8 or 4 bit: its codes in one region, its tables in another; see native/addon.cc. */
  packed(
    region: number,
    offset: number,
    tables: number,
    kind: number,
    blockSize: number,
    rounding: number,
    rows: number,
    cols: number,
  ): number;
  /** Packs numbers of TensorFlow's type `dtype` beside JavaScript; resolves with the regions of codes and tables. */
  quantise(
    region: number,
    offset: number,
    dtype: number,
    rows: number,
    cols: number,
    kind: number,
    table: Float32Array | null,
  ): Promise<[codes: number, tables: number]>;
  /** Resolves when these bytes of a mapped file are in memory. */
  prefault(region: number, start: number, end: number): Promise<void>;
  /** Resolves when every kernel that was started before is done. */
  idle(): Promise<void>;
  /** Blocks until then. */
  wait(): void;
  /** Chooses an instruction set by name ("" is the best); false where the processor has not got it. */
  select(name: string): boolean;
  info(): { instructions: string; available: string[]; threads: number; weights: number };
}

/** The folder of the kernels' sources. */
export const sourceFolder = (): string => path.join(packageRoot(), "native");

/** The sources by their paths below `native/`, sorted. */
export function sources(): string[] {
  const files = readdirSync(sourceFolder(), { recursive: true }) as string[];
  return files.filter((file) => /\.(cc|h|inc)$/.test(file)).sort();
}

/** Where the addon of these very sources lies in a package's folder: an addon of other sources is never loaded. */
export function kernelAddonPath(folder: string): string {
  const hash = createHash("sha256");
  for (const file of sources()) hash.update(file).update(readFileSync(path.join(sourceFolder(), file)));
  return path.join(folder, "lib", `paligemma-${hash.digest("hex").slice(0, 16)}.node`);
}

/**
 * The addon beside a package's own, or null when setup has not built it; one of other sources is not used, and a
 * warning of the process says so. The package's addon must be loaded already.
 */
export function openKernelAddon(folder: string): KernelAddon | null {
  const file = kernelAddonPath(folder);
  if (existsSync(file)) return openPinned(createRequire(import.meta.url), file) as KernelAddon;
  if (builtAddons(folder).length > 0) {
    process.emitWarning(
      "The native kernels are of another version of paligemma-tfjs and not used; run setup-native again.",
    );
  }
  return null;
}

/** Addons of any sources in a package's folder. */
export const builtAddons = (folder: string): string[] =>
  list(path.join(folder, "lib"))
    .filter((name) => /^paligemma-[0-9a-f]{16}\.node$/.test(name))
    .map((name) => path.join(folder, "lib", name));
