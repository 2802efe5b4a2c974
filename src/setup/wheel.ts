import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, rename, rm, statfs } from "node:fs/promises";
import path from "node:path";

import { withTemporary } from "../../weights/temporary.js";
import { BackendError } from "../base/errors.js";
import { atomically } from "./atomic.js";
import { list, TENSORFLOW_VERSION, wheelName, type NativeLayout } from "../backends/native/layout.js";
import { cudaDistributions, type PinnedDistribution, type PinnedWheels } from "./pinned-wheels.js";
import { commandFailed, type Python } from "./tools.js";
import type { Run } from "../backends/native/process.js";

/** The Python versions that TensorFlow 2.21 has wheels for. */
const WHEEL_PYTHONS = ["3.10", "3.11", "3.12", "3.13"];

/**
 * What is taken from the TensorFlow wheel; the remaining 12 000 headers are not needed by a user of the C interface.
 */
const TENSORFLOW_MEMBERS = [
  "tensorflow/libtensorflow_cc.so.2",
  "tensorflow/libtensorflow_framework.so.2",
  "tensorflow/include/tensorflow/c/",
  "tensorflow/include/tensorflow/core/platform/ctstring",
  "tensorflow/include/tsl/platform/ctstring",
  "tensorflow/include/xla/tsl/c/",
];

/** Python, because pip needs it anyway and `unzip` may be absent. It checks each member's CRC while it copies. */
const UNPACK = `
import os, shutil, sys, zipfile
wheel, target, *wanted = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        name = member.filename
        if member.is_dir() or ".." in name or not name.startswith(tuple(wanted)):
            continue
        file = os.path.join(target, name)
        os.makedirs(os.path.dirname(file), exist_ok=True)
        with archive.open(member) as source, open(file, "wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
`;

/**
 * pip's arguments for the TensorFlow wheel. libtensorflow does not depend on the Python version, but wheels are sorted
 * by it: a Python that has a wheel takes its own (which a local mirror is likeliest to hold), any other asks for that
 * of 3.12.
 */
export function wheelArguments(requirement: string, python: Python, folder: string): string[] {
  const version = python.version.join(".");
  const foreign = WHEEL_PYTHONS.includes(version) ? [] : ["--python-version", "3.12", "--implementation", "cp"];
  return ["-m", "pip", "download", "--no-deps", "--only-binary=:all:", ...foreign, "--dest", folder, requirement];
}

/** The downloaded wheel of a distribution in a folder, whatever Python it is for. */
export function cachedWheel(folder: string, distribution: string, version = ""): string | undefined {
  const start = `${distribution.replaceAll("-", "_")}-${version}`.toLowerCase();
  const name = list(folder).find((file) => file.toLowerCase().startsWith(start) && file.endsWith(".whl"));
  return name && path.join(folder, name);
}

/** What fetching needs: where wheels are kept, which ones are taken, and the Python whose pip brings them. */
export interface WheelOptions {
  layout: NativeLayout;
  gpu: boolean;
  wheels: PinnedWheels;
  run: Run;
}

/** Fetches the TensorFlow wheel unless it is there, and returns its path and whether it had to be fetched. */
export async function fetchTensorflow(
  options: WheelOptions,
  python: Python,
): Promise<{ wheel: string; fetched: boolean }> {
  const { layout, gpu } = options;
  const tensorflow = { name: wheelName(gpu), version: TENSORFLOW_VERSION };
  if (!cachedOf(layout, tensorflow)) await requireSpace(layout.wheels, gpu ? 12 : 1.5);
  return pinnedWheel(options, tensorflow, python);
}

const cachedOf = ({ wheels }: NativeLayout, { name, version }: PinnedDistribution): string | undefined =>
  cachedWheel(wheels, name, `${version}-`);

/**
 * A wheel whose bytes are the pinned ones: the cached one, else fetched with pip. Throws a BackendError for any other
 * bytes.
 */
async function pinnedWheel(
  options: WheelOptions,
  distribution: PinnedDistribution,
  python: Python,
): Promise<{ wheel: string; fetched: boolean }> {
  const cached = cachedOf(options.layout, distribution);
  if (cached) await requirePinned(cached, options.wheels, "remove that file and run setup again");
  return cached
    ? { wheel: cached, fetched: false }
    : { wheel: await fetchWheel(options, distribution, python), fetched: true };
}

async function fetchWheel(
  { layout, wheels, run }: WheelOptions,
  { name, version }: PinnedDistribution,
  python: Python,
): Promise<string> {
  return withTemporary(layout.wheels, async (partial) => {
    const requirement = `${name}==${version}`;
    const result = await run(python.command, wheelArguments(requirement, python, partial), { timeoutMs: 3_600_000 });
    const wheel = cachedWheel(partial, name, `${version}-`);
    if (result.code !== 0 || !wheel) {
      throw commandFailed(
        `pip download ${requirement}`,
        result,
        "Check pip's index and network settings (`pip config list`).",
      );
    }
    await requirePinned(wheel, wheels, "pip's index gave another file than PyPI has (`pip config list` names it)");
    const place = path.join(layout.wheels, path.basename(wheel));
    await rename(wheel, place);
    return place;
  });
}

/** Throws a BackendError unless the bytes of a wheel are those that are pinned under its name. */
async function requirePinned(wheel: string, wheels: PinnedWheels, advice: string): Promise<void> {
  const file = path.basename(wheel);
  const pinned = Object.hasOwn(wheels, file) ? wheels[file] : undefined;
  const hash = createHash("sha256");
  for await (const piece of createReadStream(wheel)) hash.update(piece as Buffer);
  const received = hash.digest("hex");
  if (received === pinned) return;
  const expected = pinned === undefined ? "a wheel whose SHA-256 is known" : `SHA-256 ${pinned}`;
  throw new BackendError(`Native setup: ${wheel}: expected ${expected}, received ${received}; ${advice}.`);
}

/**
 * Unpacks the libraries and headers, and for a GPU the libraries of CUDA. A wheel that cannot be read is removed, so
 * that the next run fetches it again.
 */
export async function unpackTensorflow(options: WheelOptions, wheel: string, python: Python): Promise<void> {
  const { layout, gpu, wheels, run } = options;
  await atomically(layout.libtensorflow, async (partial) => {
    await unpack(wheel, partial, TENSORFLOW_MEMBERS, python, run);
    for (const distribution of gpu ? cudaDistributions(wheels) : []) {
      const part = await pinnedWheel(options, distribution, python);
      await unpack(part.wheel, partial, ["nvidia/"], python, run);
    }
  });
}

/** Whether the unpacked libraries and headers are all there: a cleaner of caches may have taken a part. */
export const isUnpacked = (layout: NativeLayout): boolean =>
  TENSORFLOW_MEMBERS.filter((member) => !member.endsWith("ctstring")).every((member) =>
    existsSync(path.join(layout.libtensorflow, member)),
  );

async function unpack(wheel: string, target: string, members: string[], python: Python, run: Run): Promise<void> {
  const result = await run(python.command, ["-c", UNPACK, wheel, target, ...members]);
  if (result.code === 0) return;
  await rm(wheel, { force: true });
  throw commandFailed(
    `unpacking ${path.basename(wheel)}`,
    result,
    "The file was removed; run setup again to fetch it anew.",
  );
}

/** Says at once that the disk is too small, rather than after the download. */
async function requireSpace(folder: string, gibibytes: number): Promise<void> {
  await mkdir(folder, { recursive: true });
  const { bavail, bsize } = await statfs(folder);
  const free = (bavail * bsize) / 2 ** 30;
  if (free >= gibibytes) return;
  throw new BackendError(
    `Native setup: expected ${gibibytes} GiB free in ${folder}, found ${free.toFixed(1)}. ` +
      "Free some, or name another folder in the variable PALIGEMMA_NATIVE_DIR.",
  );
}
