import { existsSync } from "node:fs";
import { mkdir, rename, rm, statfs } from "node:fs/promises";
import path from "node:path";

import { BackendError } from "../errors.js";
import { atomically } from "./atomic.js";
import { list, TENSORFLOW_VERSION, wheelName, type NativeLayout } from "./layout.js";
import { commandFailed, type Python } from "./tools.js";
import type { Run } from "./process.js";

/** The Python versions that TensorFlow 2.21 has wheels for. */
const WHEEL_PYTHONS = ["3.10", "3.11", "3.12", "3.13"];

/** What is taken from the TensorFlow wheel; the remaining 12 000 headers are not needed by a user of the C interface. */
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

/** Prints the requirements of a wheel that its extra "and-cuda" adds. */
const CUDA_REQUIREMENTS = `
import re, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    name = next(n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
    for line in archive.read(name).decode().splitlines():
        found = re.match(r"Requires-Dist: *(nvidia-[^;]+?) *;.*and-cuda", line)
        if found:
            print(found.group(1))
`;

/**
 * pip's arguments for the TensorFlow wheel. libtensorflow does not depend on the Python version, but wheels are sorted by
 * it: a Python that has a wheel takes its own (which a local mirror is likeliest to hold), any other asks for that of 3.12.
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

/** Fetches the TensorFlow wheel unless it is there, and returns its path and whether it had to be fetched. */
export async function fetchTensorflow(
  layout: NativeLayout,
  gpu: boolean,
  python: Python,
  run: Run,
): Promise<{ wheel: string; fetched: boolean }> {
  const name = wheelName(gpu);
  const cached = cachedWheel(layout.wheels, name, `${TENSORFLOW_VERSION}-`);
  if (cached) return { wheel: cached, fetched: false };
  await requireSpace(layout.wheels, gpu ? 12 : 1.5);
  return { wheel: await fetchWheel(`${name}==${TENSORFLOW_VERSION}`, name, layout.wheels, python, run), fetched: true };
}

/** Fetches one wheel with pip, which checks it against the index's hash. */
async function fetchWheel(
  requirement: string,
  name: string,
  folder: string,
  python: Python,
  run: Run,
): Promise<string> {
  const partial = `${folder}.partial-${process.pid}`;
  try {
    const args = wheelArguments(requirement, python, partial);
    const result = await run(python.command, args, { timeoutMs: 3_600_000 });
    const wheel = cachedWheel(partial, name);
    if (result.code !== 0 || !wheel) {
      throw commandFailed(
        `pip download ${requirement}`,
        result,
        "Check pip's index and network settings (`pip config list`).",
      );
    }
    const place = path.join(folder, path.basename(wheel));
    await rename(wheel, place);
    return place;
  } finally {
    await rm(partial, { recursive: true, force: true });
  }
}

/**
 * Unpacks the libraries and headers, and for a GPU the libraries of the nvidia wheels that TensorFlow asks for. A wheel that
 * cannot be read is removed, so that the next run fetches it again.
 */
export async function unpackTensorflow(
  { layout, gpu }: { layout: NativeLayout; gpu: boolean },
  wheel: string,
  python: Python,
  run: Run,
): Promise<void> {
  await atomically(layout.libtensorflow, async (partial) => {
    await unpack(wheel, partial, TENSORFLOW_MEMBERS, python, run);
    if (!gpu) return;
    const requirements = await run(python.command, ["-c", CUDA_REQUIREMENTS, wheel]);
    for (const requirement of requirements.stdout.split(/\r?\n/).filter(Boolean)) {
      const name = /^[\w-]+/.exec(requirement)![0];
      const part =
        cachedWheel(layout.wheels, name) ?? (await fetchWheel(requirement, name, layout.wheels, python, run));
      await unpack(part, partial, ["nvidia/"], python, run);
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
