import { existsSync } from "node:fs";
import { cp, mkdir, readFile, symlink } from "node:fs/promises";
import path from "node:path";

import { BackendError } from "../base/errors.js";
import { atomically } from "./atomic.js";
import { depsLinks, nvidiaLibraries, packageFolder, type NativeLayout } from "../backends/native/layout.js";
import { buildMute } from "../backends/native/mute.js";
import { probe as realProbe, type ProbeResult } from "../backends/native/probe.js";
import { mainLine, tail, type Run } from "../backends/native/process.js";
import { commandFailed, nodeGyp, nodeHeaders, type Python, type Toolchain } from "./tools.js";

/** How long the package's own download may take once its server has answered. */
const DOWNLOAD_MS = 300_000;

/** What both ways to an addon need. `probe` tries the package in a folder. */
export interface AddonOptions {
  layout: NativeLayout;
  gpu: boolean;
  run: Run;
  probe?: typeof realProbe;
}

/**
 * Tries the install script of the package itself (libtensorflow 2.9.1 and a prebuilt addon, from one server). Returns
 * null when it worked, else why not. It is not started unless the server answers for the addon's file within five
 * seconds, since it knows no time limit and can wait for ever behind a firewall.
 */
export async function downloadAddon(options: AddonOptions): Promise<string | null> {
  const { layout, gpu, run } = options;
  const source = packageFolder(layout.pristine, gpu);
  const unreachable = await tryServer(source, run);
  if (unreachable) return unreachable;
  let problem: string | null = null;
  await buildReady(options, async (folder, root) => {
    const env = {
      ...process.env,
      PATH: `${path.join(root, "node_modules", ".bin")}${path.delimiter}${process.env.PATH}`,
    };
    const result = await run(process.execPath, await installScript(folder), {
      cwd: folder,
      env,
      timeoutMs: DOWNLOAD_MS,
    });
    if (result.timedOut) throw new BackendError(`it did not end within ${DOWNLOAD_MS / 1000} s`);
    if (result.code !== 0) throw new BackendError(mainLine(tail(result, 30)));
  }).catch((error: unknown) => {
    problem = error instanceof Error ? error.message : String(error);
  });
  return problem;
}

/** The arguments of "node scripts/install.js" or "node scripts/install.js gpu ...", whichever the package declares. */
async function installScript(folder: string): Promise<string[]> {
  const { scripts } = await readJson<{ scripts: { install: string } }>(folder);
  return scripts.install.split(" ").slice(1);
}

const readJson = async <T>(folder: string): Promise<T> =>
  JSON.parse(await readFile(path.join(folder, "package.json"), "utf8")) as T;

/** Asks the package's server for the prebuilt addon of this system; null when it is there. */
async function tryServer(folder: string, run: Run): Promise<string | null> {
  const { binary, version } = await readJson<{
    version: string;
    binary: { host: string; remote_path: string; napi_versions: number[] };
  }>(folder);
  const name = await run(process.execPath, [path.join(folder, "scripts", "get-addon-name.js")]);
  const napi = Math.max(...binary.napi_versions.filter((one) => one <= Number(process.versions.napi)));
  const remote = binary.remote_path.replace("{napi_build_version}", String(napi)).replace("{version}", version);
  const url = `${binary.host}${remote.replace(/^\./, "")}${name.stdout.trim()}`;
  try {
    const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(5000) });
    return response.ok ? null : `its server answered ${response.status} for this system's addon`;
  } catch {
    return "its server cannot be reached directly";
  }
}

/**
 * Builds the package's addon, unchanged, against the unpacked wheel (about 20 s on one core, two files).
 * The GPU form is the same with the other package and wheel, and has not been run.
 */
export async function buildAddon(options: AddonOptions, python: Python, tools: Toolchain): Promise<void> {
  const { layout, run } = options;
  await buildReady(options, async (folder) => {
    await linkDeps(folder, layout);
    const headers = nodeHeaders();
    const gyp = nodeGyp();
    const env: NodeJS.ProcessEnv = {
      ...process.env,
      CXX: tools.cxx,
      MAKE: tools.make,
      PYTHON: python.command,
      JOBS: "2",
    };
    if (headers) env.npm_config_nodedir = headers;
    if (gyp) env.npm_config_node_gyp = gyp;
    const preGyp = path.resolve(folder, "..", "..", "@mapbox", "node-pre-gyp", "bin", "node-pre-gyp");
    const args = [preGyp, "install", "--build-from-source"];
    const result = await run(process.execPath, args, { cwd: folder, env, timeoutMs: 1_800_000 });
    if (result.code === 0) return buildMute(folder, tools.cxx, run);
    const advice = headers
      ? "The compiler's words follow."
      : "The node headers are not beside this node, so node-gyp had to fetch them; if that failed, use a node that comes with them.";
    throw commandFailed("building the addon", result, advice);
  });
}

/** Copies the package, lets `make` add its addon, tries it, and only then puts it where the loader looks. */
async function buildReady(
  { layout, gpu, run, probe = realProbe }: AddonOptions,
  make: (folder: string, root: string) => Promise<void>,
): Promise<void> {
  await atomically(layout.ready, async (partial) => {
    await cp(layout.pristine, partial, { recursive: true, verbatimSymlinks: true });
    const folder = packageFolder(partial, gpu);
    await make(folder, partial);
    requireWorking(await probe({ gpu, folder, run }));
  });
}

function requireWorking(result: ProbeResult): void {
  if (!result.ok) throw new BackendError(`Native setup: the new addon does not work: ${result.reason}`);
}

/**
 * Lays the unpacked wheel out as the package's `deps`, by links: both folders lie side by side in the cache, so that
 * the relative links stay right when the package's folder is renamed, and the 850 MB exist once.
 */
async function linkDeps(folder: string, layout: NativeLayout): Promise<void> {
  for (const { at, to } of depsLinks(nvidiaLibraries(layout.libtensorflow))) {
    const link = path.join(folder, at);
    await mkdir(path.dirname(link), { recursive: true });
    const target = path.join(layout.libtensorflow, to);
    if (!existsSync(target))
      throw new BackendError(`Native setup: ${target} is missing; run setup again with --force.`);
    await symlink(path.relative(path.dirname(link), target), link);
  }
}
