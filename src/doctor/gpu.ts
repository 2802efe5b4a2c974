import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { list } from "../backends/native/layout.js";
import { run as realRun, type Run } from "../backends/native/process.js";

/** What the system says of GPUs, without TensorFlow. */
export type Gpus = {
  /** "name, memory, driver" of each, as nvidia-smi lists them. */
  devices: string[];
  /** Device files. */
  files: string[];
  /** The kernel's driver in its own words; null without one. */
  driver: string | null;
  /** The driver's library for programs, which TensorFlow opens; null where it is in none of the usual folders. */
  library: string | null;
};

/** Where distributions, containers and WSL put the driver's library. */
const LIBRARY_FOLDERS = [
  "/usr/lib/x86_64-linux-gnu",
  "/usr/lib/aarch64-linux-gnu",
  "/usr/lib64",
  "/usr/lib",
  "/usr/local/nvidia/lib64",
  "/usr/local/cuda/compat",
  "/usr/lib/wsl/lib",
];

const QUERY = ["--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"];

/** Looks for NVIDIA's devices, driver and tool. Never throws: what is not there is not there. */
export async function gpus(run: Run = realRun): Promise<Gpus> {
  const listed = await run("nvidia-smi", QUERY, { timeoutMs: 5000 });
  const names = listed.code === 0 ? listed.stdout.split(/\r?\n/) : [];
  return {
    devices: names.map((name) => name.trim()).filter((name) => name !== ""),
    files: list("/dev")
      .filter((name) => /^nvidia(\d+|ctl)$|^dxg$/.test(name))
      .map((name) => `/dev/${name}`),
    driver: driver(),
    library: libraryIn([...(process.env.LD_LIBRARY_PATH ?? "").split(":").filter(Boolean), ...LIBRARY_FOLDERS]),
  };
}

/** Whether anything of a GPU was seen. */
export const isSeen = ({ devices, files, driver, library }: Gpus): boolean =>
  devices.length > 0 || files.length > 0 || driver !== null || library !== null;

function driver(): string | null {
  try {
    const [first] = readFileSync("/proc/driver/nvidia/version", "latin1").split("\n");
    return first!
      .replace(/^NVRM version:\s*/, "")
      .replace(/\s+/g, " ")
      .trim();
  } catch {
    return null;
  }
}

const libraryIn = (folders: readonly string[]): string | null =>
  folders.map((folder) => path.join(folder, "libcuda.so.1")).find((file) => existsSync(file)) ?? null;
