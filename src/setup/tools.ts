import { existsSync, readFileSync, realpathSync } from "node:fs";
import path from "node:path";

import { BackendError } from "../base/errors.js";
import { tail, type Run } from "../backends/native/process.js";

/** A Python that has pip. */
export interface Python {
  command: string;
  /** For example [3, 12]. */
  version: [number, number];
}

/** What compiles the addon. */
export interface Toolchain {
  cxx: string;
  make: string;
}

/**
 * Finds a Python 3.8 or later with pip: `$PYTHON`, else python3, else python. Throws a BackendError that says what was
 * found instead and what to install.
 */
export async function findPython(run: Run, env: NodeJS.ProcessEnv = process.env): Promise<Python> {
  const script = "import sys; print(sys.executable); print(*sys.version_info[:2])";
  const rejected: string[] = [];
  for (const name of [env.PYTHON, "python3", "python"].filter((one) => one !== undefined && one !== "")) {
    const { code, stdout } = await run(name!, ["-c", script]);
    const [executable, version] = stdout.trim().split(/\r?\n/);
    const [major, minor] = (version ?? "").split(" ").map(Number);
    if (code !== 0 || !executable || major === undefined || minor === undefined) continue;
    if (major < 3 || (major === 3 && minor < 8)) {
      rejected.push(`${name} is Python ${major}.${minor}`);
    } else if ((await run(executable, ["-m", "pip", "--version"])).code !== 0) {
      rejected.push(`${name} (Python ${major}.${minor}) has no pip`);
    } else {
      return { command: executable, version: [major, minor] };
    }
  }
  throw new BackendError(
    `Native setup: expected Python 3.8 or later with pip, to fetch libtensorflow; found ${rejected.join(", ") || "no Python"}. ` +
      "Install both (Debian, Ubuntu: `apt install python3 python3-pip`), or name one in the variable PYTHON, and run setup again.",
  );
}

/** Finds a C++ compiler (`$CXX`, g++, c++, clang++) and make. Throws a BackendError that says what to install. */
export async function findToolchain(run: Run, env: NodeJS.ProcessEnv = process.env): Promise<Toolchain> {
  const first = async (names: (string | undefined)[]): Promise<string | undefined> => {
    for (const name of names) if (name && (await run(name, ["--version"])).code === 0) return name;
    return undefined;
  };
  const cxx = await first([env.CXX, "g++", "c++", "clang++"]);
  const make = await first([env.MAKE, "make"]);
  if (cxx && make) return { cxx, make };
  const missing = [cxx ? "" : "a C++ compiler", make ? "" : "make"].filter(Boolean).join(" and ");
  throw new BackendError(
    `Native setup: expected a C++ compiler and make, to build the addon; ${missing} not found. ` +
      "Install them (Debian, Ubuntu: `apt install build-essential`; Fedora: `dnf install gcc-c++ make`) and run setup again.",
  );
}

/** The command that runs npm, as a program and its first arguments. */
export function npmCommand(env: NodeJS.ProcessEnv = process.env, execPath = process.execPath): [string, string[]] {
  // Under `npm run` npm says where it is; under another package manager the variable names that one.
  const candidates = [
    env.npm_execpath,
    ...npmFolders(execPath).map((folder) => path.join(folder, "bin", "npm-cli.js")),
  ];
  const script = candidates.find((file) => file && path.basename(file) === "npm-cli.js" && existsSync(file));
  return script ? [execPath, [script]] : ["npm", []];
}

/** node-gyp's script inside npm, for node-pre-gyp, which looks for it beside the node program only. */
export function nodeGyp(env: NodeJS.ProcessEnv = process.env, execPath = process.execPath): string | undefined {
  const npm = env.npm_execpath?.endsWith("npm-cli.js") ? [path.resolve(env.npm_execpath, "..", "..")] : [];
  return [...npm, ...npmFolders(execPath)]
    .map((folder) => path.join(folder, "node_modules", "node-gyp", "bin", "node-gyp.js"))
    .find((file) => existsSync(file));
}

/**
 * The folder to give node-gyp as `nodedir`, when the headers of the running node are beside it (`include/node`, as in
 * the official archives, nvm and distribution packages); undefined leaves it to node-gyp, which downloads them.
 */
export function nodeHeaders(execPath = process.execPath, version = process.versions.node): string | undefined {
  const folder = path.resolve(realpathSync(execPath), "..", "..");
  try {
    const text = readFileSync(path.join(folder, "include", "node", "node_version.h"), "utf8");
    const major = /#define NODE_MAJOR_VERSION (\d+)/.exec(text)?.[1];
    return major === version.split(".")[0] ? folder : undefined;
  } catch {
    return undefined;
  }
}

function npmFolders(execPath: string): string[] {
  const prefix = path.resolve(execPath, "..", "..");
  return [
    path.join(prefix, "lib", "node_modules", "npm"),
    path.join(path.dirname(execPath), "node_modules", "npm"),
    path.join(prefix, "share", "npm"),
  ];
}

/** The error of a command that should have worked. */
export const commandFailed = (doing: string, result: Awaited<ReturnType<Run>>, advice: string): BackendError =>
  new BackendError(
    `Native setup: ${doing} ${result.timedOut ? "did not end in time" : "failed"}. ${advice}\n${tail(result)}`,
  );
