import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import type * as tfjs from "@tensorflow/tfjs";

import { BackendError } from "../../base/errors.js";
import { registerKernels } from "./kernels.js";
import { nativeLayout, nativePackage, packageFolder, type NativePackage } from "./layout.js";
import { quietly } from "./mute.js";
import type { NativeInfo } from "./native-info.js";
import { openPinned } from "./pinned.js";
import { polyfillUtil, type OldUtil } from "./polyfill.js";
import { checkVariables } from "./variables.js";

/** A place where one of the packages may be. */
export interface NativeCandidate {
  packageName: NativePackage;
  folder: string;
}

/** The part of tfjs-node's addon that this project reads. */
interface Binding {
  TF_Version: string;
  isUsingGpuDevice(): boolean;
}

const require = createRequire(import.meta.url);

/**
 * What the setup step puts in place of tfjs-node's own "@tensorflow/tfjs" dependency: a module that exports what the
 * loader left under this symbol. Without it the package in the cache folder would bring a second TensorFlow.js, whose
 * tensors, flags and layers are not the project's.
 */
export const SHARED_TFJS = Symbol.for("paligemma-tfjs.shared-tfjs");

/** How a message tells the user to repair or install the native part. */
export const SETUP_HINT = "Run `npm run setup:native` (outside a checkout: `npx paligemma setup-native`)";

/**
 * The packages present, in the order in which they are tried: those that the user installed next to this package, then
 * those that setup made in the cache folder; the GPU one before the CPU one each time.
 */
export function findNative(): NativeCandidate[] {
  const found: NativeCandidate[] = [];
  for (const gpu of [true, false]) {
    const packageName = nativePackage(gpu);
    try {
      found.push({ packageName, folder: path.dirname(require.resolve(`${packageName}/package.json`)) });
    } catch {
      // Not installed: an optional peer may be absent.
    }
  }
  for (const gpu of [true, false]) {
    const folder = packageFolder(nativeLayout(gpu).ready, gpu);
    if (existsSync(folder)) found.push({ packageName: nativePackage(gpu), folder });
  }
  return found;
}

let loaded: NativeInfo | undefined;

/**
 * Loads tfjs-node-gpu or tfjs-node, which registers the backend "tensorflow" on the engine of this process's
 * "@tensorflow/tfjs"; gives null when neither is installed. A second call gives what the first loaded. `candidates`
 * replaces what `findNative` finds.
 *
 * The current backend stays what it was: `await tf.setBackend("tensorflow")` is the caller's to say. (The package by
 * itself would switch to it as it loads, and create it.) It does register with the highest priority, so a caller who
 * never chooses a backend gets it at the first operation.
 *
 * Throws a BackendError for a variable `PALIGEMMA_*` of a wrong value, and when a package is present but none works:
 * addon missing, a shared library missing, wrong architecture. One that works is taken although another one before it
 * does not.
 */
export function openNative(candidates?: NativeCandidate[]): NativeInfo | null {
  if (loaded && !candidates) return loaded;
  checkVariables();
  const problems: string[] = [];
  for (const candidate of candidates ?? findNative()) {
    const { binding, problem } = openAddon(candidate);
    if (!binding) {
      problems.push(`${candidate.packageName} in ${candidate.folder} ${problem}`);
      continue;
    }
    requirePackage(candidate);
    const info = { ...candidate, tensorflowVersion: binding.TF_Version, gpu: binding.isUsingGpuDevice() };
    loaded = { ...info, kernels: registerKernels(info) };
    return loaded;
  }
  if (problems.length === 0) return null;
  throw new BackendError(`Backend "tensorflow": ${problems.join("; ")}. ${SETUP_HINT} to build it.`);
}

/** `openNative` as a promise. */
export const loadNative = async (candidates?: NativeCandidate[]): Promise<NativeInfo | null> => openNative(candidates);

/**
 * Opens the addon before the package is required: the package registers its kernels first and looks for its addon
 * after, so a failed attempt would leave kernels behind that collide with those of the next candidate.
 */
function openAddon({ folder }: NativeCandidate): { binding?: Binding; problem?: string } {
  // TensorFlow reads these when the addon opens; a value that the user has set stays.
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  // Otherwise TensorFlow takes the whole memory of the GPU (tfjs #671); the addon offers no option for it.
  process.env.TF_FORCE_GPU_ALLOW_GROWTH ??= "true";
  try {
    const local = createRequire(path.join(folder, "package.json"));
    const preGyp = local("@mapbox/node-pre-gyp") as { find(packageJson: string): string };
    const addon = withoutArguments(() => preGyp.find(path.join(folder, "package.json")));
    if (!existsSync(addon)) return { problem: `has no built addon (expected ${path.relative(folder, addon)})` };
    return { binding: quietly(folder, () => openPinned(local, addon) as Binding) };
  } catch (error) {
    return { problem: `cannot be loaded: ${firstLine(error)}` };
  }
}

/** Requires the package so that it registers its backend on our engine, and only that. */
function requirePackage({ packageName, folder }: NativeCandidate): void {
  polyfillUtil(require("node:util") as OldUtil);
  const tf = require("@tensorflow/tfjs") as typeof tfjs;
  (globalThis as Record<symbol, unknown>)[SHARED_TFJS] = tf;
  const engine = tf.engine();
  // The last thing that the package does is tf.setBackend("tensorflow"), which is the caller's choice, not the
  // package's.
  engine.setBackend = async () => true;
  try {
    withoutArguments(() => createRequire(path.join(folder, "package.json"))(folder) as unknown);
  } catch (error) {
    throw new BackendError(
      `Backend "tensorflow": ${packageName} in ${folder} cannot be loaded: ${firstLine(error)}. ${SETUP_HINT}.`,
    );
  } finally {
    Reflect.deleteProperty(engine, "setBackend");
  }
  if (!tf.findBackendFactory("tensorflow")) {
    throw new BackendError(
      `Backend "tensorflow": ${packageName} in ${folder} registered it on another copy of @tensorflow/tfjs than the one ` +
        "this package uses. Install one version for both (`npm ls @tensorflow/tfjs` shows them, `npm dedupe` may merge them).",
    );
  }
}

/** node-pre-gyp takes the arguments of any program for its own: `--debug` and `--dir` would send it elsewhere. */
function withoutArguments<T>(work: () => T): T {
  const { argv } = process;
  process.argv = argv.slice(0, 2);
  try {
    return work();
  } finally {
    process.argv = argv;
  }
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split("\n")[0]!.trim();
