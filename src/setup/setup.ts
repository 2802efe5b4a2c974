import { existsSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";

import { clearAbandoned } from "../../weights/temporary.js";
import { BackendError, InputError } from "../base/errors.js";
import { buildAddon, downloadAddon } from "./addon.js";
import {
  cacheFolder,
  nativeLayout,
  nativePackage,
  packageFolder,
  TENSORFLOW_VERSION,
  wheelName,
} from "../backends/native/layout.js";
import type { NativeLayout } from "../backends/native/layout.js";
import { buildKernelAddon } from "./kernel-build.js";
import { buildMute } from "../backends/native/mute.js";
import { installPackage } from "./package.js";
import { PINNED_WHEELS, type PinnedWheels } from "./pinned-wheels.js";
import { probe as realProbe, type ProbeResult } from "../backends/native/probe.js";
import { run as realRun, type Run } from "../backends/native/process.js";
import { findPython, findToolchain } from "./tools.js";
import { fetchTensorflow, isUnpacked, unpackTensorflow } from "./wheel.js";

/** What setup is asked to do. */
export interface SetupOptions {
  /**
   * tfjs-node-gpu and the CUDA build of TensorFlow, instead of tfjs-node. Built and loaded on a CPU; no machine with a
   * GPU has run it.
   */
  gpu?: boolean | undefined;
  /** Makes everything anew although it works, except that a downloaded wheel is used again. */
  force?: boolean | undefined;
  /** Only says whether the backend works. */
  check?: boolean | undefined;
  /** Leaves out the package's own download of TensorFlow 2.9.1 and builds against TensorFlow 2.21. */
  fromSource?: boolean | undefined;
  /** Where to work; by default `cacheFolder()`. */
  cache?: string;
  /** Takes a line about each step; by default stderr. */
  log?: (line: string) => void;
  /** The wheels that are taken, by their hashes; by default `PINNED_WHEELS`. */
  wheels?: PinnedWheels;
  /** How commands are run and the backend is tried; tests put something else here. */
  run?: Run;
  probe?: typeof realProbe;
}

type Context = { [Name in Exclude<keyof SetupOptions, "check">]-?: Exclude<SetupOptions[Name], undefined> } & {
  layout: NativeLayout;
};

/**
 * Makes the backend "tensorflow" available, and returns whether it is (false only with `check`).
 *
 * The steps, each left out when it is done already, and complete or absent after an interruption:
 * 1. try the backend in a child process; when it works there is nothing to do;
 * 2. install tfjs-node (or tfjs-node-gpu) without its install script;
 * 3. let it download its own binary, if its server answers;
 * 4. else, on Linux x64, fetch the TensorFlow wheel with pip and unpack its C library and headers;
 * 5. build the package's own addon against them;
 * 6. try the result as in step 1, before it is put where the loader looks;
 * 7. build the project's own kernels (`native/`) beside it; this alone is done for a package that works without them.
 *
 * Everything lies in the user's cache folder and not in `node_modules`: npm removes what it did not install from there,
 * and the work is good for every checkout. A tfjs-node that the user installed in the ordinary way is found before it
 * and left alone. Throws a BackendError that says which step failed and what to do.
 */
export async function setupNative(options: SetupOptions = {}): Promise<boolean> {
  const context = contextOf(options);
  const { gpu, log, probe, run, layout } = context;
  const before = await probe({ gpu, run });
  if (options.check) {
    log(
      before.ok
        ? `Native backend works: ${describe(before)}.`
        : sentence(`Native backend not usable: ${before.reason}`),
    );
    return before.ok;
  }
  await clearAbandoned(context.cache);
  if (before.ok && !options.force) {
    if (before.gpu || before.kernels) {
      log(`Already done: ${describe(before)}. Nothing to do.`);
      return true;
    }
    await ownKernels(context, before);
    return true;
  }
  requirePlainPath(context.cache);
  if (!before.ok && existsSync(layout.ready)) log(sentence(`An earlier setup is made anew: ${before.reason}`));
  await step(context, `Install ${nativePackage(gpu)}`, () => installPackage(context, run));
  if (!(await ownDownload(context))) await fromWheel(context);
  await report(context);
  return true;
}

/**
 * Builds the project's own kernels for a package that works. Whoever got a prebuilt package and has no compiler goes on
 * without them.
 */
async function ownKernels(context: Context, { folder }: Extract<ProbeResult, { ok: true }>): Promise<void> {
  const { run, log, probe, gpu } = context;
  const tools = await findToolchain(run).catch((error: unknown) => {
    log(`The project's kernels: left out, weights will be float32. ${(error as Error).message}`);
    return null;
  });
  if (tools === null) return;
  await step(context, "Build the project's kernels", async () => {
    await buildKernelAddon(folder, tools, run);
    await buildMute(folder, tools.cxx, run);
    return true;
  });
  const after = await probe({ gpu, run });
  if (!after.ok) throw new BackendError(`Native setup: with the kernels the backend does not work: ${after.reason}`);
  log(`Ready: ${describe(after)}.`);
}

function contextOf(options: SetupOptions): Context {
  const {
    gpu = false,
    force = false,
    fromSource = false,
    cache = cacheFolder(),
    wheels = PINNED_WHEELS,
    run = realRun,
    probe = realProbe,
  } = options;
  const log = options.log ?? ((line: string) => void process.stderr.write(`${line}\n`));
  return { gpu, force, fromSource, cache, wheels, run, probe, log, layout: nativeLayout(gpu, cache) };
}

/** make, and so node-gyp, cannot build in a folder whose path has a space. */
function requirePlainPath(cache: string): void {
  if (!/\s/.test(cache)) return;
  throw new InputError(
    `Native setup: the folder "${cache}" has a space in its path, where make cannot build. ` +
      "Name another one in the variable PALIGEMMA_NATIVE_DIR.",
  );
}

async function ownDownload({ gpu, layout, fromSource, log, run, probe }: Context): Promise<boolean> {
  if (fromSource) {
    log("Its own download: left out, as asked.");
    return false;
  }
  const started = Date.now();
  const problem = await downloadAddon({ layout, gpu, run, probe });
  log(problem ? `Its own download: not possible here, ${problem}.` : `Its own download: done in ${seconds(started)}.`);
  return problem === null;
}

async function fromWheel(context: Context): Promise<void> {
  const { gpu, layout, run, log, probe } = context;
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new BackendError(
      `Native setup: on ${process.platform}-${process.arch} only the package's own download is possible, and it failed (see ` +
        "above). Try again where its server can be reached, or use the backend wasm, which needs no native part.",
    );
  }
  // All tools first: whoever lacks a compiler should hear it before the download, not after.
  const python = await findPython(run);
  const tools = await findToolchain(run);
  const unpacked = isUnpacked(layout) && !context.force;
  let wheel = "";
  await step(context, `Fetch the wheel ${wheelName(gpu)} ${TENSORFLOW_VERSION} with pip`, async () => {
    if (unpacked) return false;
    const result = await fetchTensorflow(context, python);
    wheel = result.wheel;
    return result.fetched;
  });
  await step(context, "Unpack libtensorflow", async () => {
    if (!unpacked) await unpackTensorflow(context, wheel, python);
    return !unpacked;
  });
  await step(context, "Build the addon and try it", async () => {
    await buildAddon({ layout, gpu, run, probe }, python, tools);
    return true;
  });
  if (gpu)
    log(`If no GPU is found: export LD_LIBRARY_PATH=${path.join(packageFolder(layout.ready, gpu), "deps", "lib")}`);
}

async function step({ log }: Context, title: string, work: () => Promise<boolean>): Promise<void> {
  const started = Date.now();
  log((await work()) ? `${title}: done in ${seconds(started)}.` : `${title}: already done.`);
}

/** Says what a program will now get, which is the user's own package if there is one that works. */
async function report(context: Context): Promise<void> {
  const { gpu, probe, run, log, layout } = context;
  const after = await probe({ gpu, run });
  if (!after.ok)
    throw new BackendError(`Native setup: everything was built, but the backend does not work: ${after.reason}`);
  log(`Ready: ${describe(after)}, in ${after.folder}.`);
  if (!after.gpu && !after.kernels) await ownKernels(context, after);
  const foreign = after.folder !== packageFolder(layout.ready, gpu);
  if (foreign) log("That is a package which you installed yourself; it comes before the one that setup made.");
}

function describe({ packageName, tensorflowVersion, gpu, kernels }: Extract<ProbeResult, { ok: true }>): string {
  const own = gpu ? "" : kernels ? ", with the project's kernels" : ", without the project's kernels";
  return `${packageName} with TensorFlow ${tensorflowVersion} on ${gpu ? "GPU" : "CPU"}${own}`;
}

const sentence = (text: string): string => text.replace(/\.?$/, ".");

const seconds = (started: number): string => `${((Date.now() - started) / 1000).toFixed(1)} s`;

/** Runs setup as a command; returns the exit code. */
export async function main(args: string[]): Promise<number> {
  try {
    const flag = { type: "boolean" } as const;
    const options = { gpu: flag, force: flag, check: flag, "from-source": flag };
    const { values } = parseArgs({ args, options });
    return (await setupNative({ ...values, fromSource: values["from-source"] })) ? 0 : 1;
  } catch (error) {
    const usage = "options are --gpu, --force, --check and --from-source";
    const { code } = error as NodeJS.ErrnoException;
    const message = error instanceof Error ? error.message : String(error);
    console.error(code?.startsWith("ERR_PARSE_ARGS") ? `${message}; ${usage}` : message);
    return 1;
  }
}
