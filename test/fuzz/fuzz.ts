import assert from "node:assert/strict";

import fc from "fast-check";

import { ConfigError, InputError } from "../../src/base/errors.js";
import { WeightsError } from "../../weights/errors.js";
import { safeSegments } from "../../weights/file-name.js";
import { decodeUtf8, parseJson } from "../../weights/json.js";
import type { ByteSource, Folder } from "../../weights/byte-source.js";
import { memorySource } from "../../weights/source.js";

/** A reader under attack: what it is given, and what must hold of it. `check` is true where the input was accepted. */
export type Target<Case = unknown> = {
  name: string;
  /** Its part of all cases. */
  share: number;
  cases: fc.Arbitrary<Case>;
  check(input: Case): Promise<boolean>;
};

/** A target without the type of its cases. */
export const target = <Case>(of: Target<Case>): Target => of as Target;

/**
 * What a reader gives, or null where it refuses with an error of ours that says something. Any other error goes
 * through.
 */
export async function readOrRefused<T>(read: () => T | Promise<T>): Promise<T | null> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof WeightsError || error instanceof ConfigError || error instanceof InputError)) throw error;
    assert.ok(error.message.length > 10, "an error that says something");
    return null;
  }
}

/** Bytes as a source that notices when more is asked for at once than there is. */
export function watchedSource(name: string, bytes: Uint8Array): ByteSource {
  const source = memorySource(name, bytes);
  return {
    ...source,
    read: async (start, end) => {
      const read = await source.read(start, end);
      assert.equal(read.length, end - start);
      return read;
    },
  };
}

/** A folder of files in memory, whose names are checked as those of a real one. */
export function memoryFolder(files: Readonly<Record<string, Uint8Array>>, name = "folder"): Folder {
  const found = (file: string): Uint8Array | undefined => {
    safeSegments(name, file);
    return Object.hasOwn(files, file) ? files[file] : undefined;
  };
  const bytesOf = (file: string): Uint8Array => {
    const bytes = found(file);
    if (!bytes) throw new WeightsError(`${name}/${file}: is not there`);
    return bytes;
  };
  const readBytes = async (file: string): Promise<Uint8Array> => bytesOf(file).slice();
  return {
    name,
    localPath: null,
    has: async (file) => found(file) !== undefined,
    open: async (file) => watchedSource(`${name}/${file}`, bytesOf(file)),
    readBytes,
    readJson: async (file) => {
      const where = `${name}/${file}`;
      return parseJson(decodeUtf8(await readBytes(file), where), where);
    },
  };
}

/**
 * That no object of a JSON text has a key twice: as many keys as are written are there. For texts whose strings hold no
 * `":`.
 */
export function requireEachKeyOnce(text: string): void {
  const keysIn = (value: unknown): number =>
    typeof value === "object" && value !== null
      ? Object.values(value).reduce<number>(
          (sum, one) => sum + keysIn(one),
          Array.isArray(value) ? 0 : Object.keys(value).length,
        )
      : 0;
  assert.equal(keysIn(JSON.parse(text)), (text.match(/"\s*:/g) ?? []).length, "each key once");
}

/** Seed of all cases; a failure prints it with the path of its case. Another one: PALIGEMMA_FUZZ_SEED. */
export const seed = Number(process.env.PALIGEMMA_FUZZ_SEED ?? 20_240);

/**
 * Runs a target's cases, the same ones each time. Fails with the seed, the path and the smallest case that fails; also
 * where no case is accepted or none refused, which would show nothing.
 */
export async function attack({ cases, check }: Target, runs: number): Promise<void> {
  const count = { accepted: 0, refused: 0 };
  const property = fc.asyncProperty(cases, async (input) => {
    count[(await check(input)) ? "accepted" : "refused"]++;
  });
  await fc.assert(property, { seed, numRuns: runs, endOnFailure: false });
  assert.ok(count.accepted > 0 && count.refused > 0, `${count.accepted} accepted, ${count.refused} refused`);
}

/** Runs of each target: its share of `all`. */
export function runsOf(targets: readonly Target[], all: number): number[] {
  const shares = targets.reduce((sum, { share }) => sum + share, 0);
  return targets.map(({ share }) => Math.ceil((all * share) / shares));
}
