import { spawnSync } from "node:child_process";
import { cpus, totalmem } from "node:os";

import * as tf from "@tensorflow/tfjs";

import { loadNative } from "../src/backends/native/load.js";
import { python } from "./child.js";

/** "CPU, cores, memory", and the versions of what this project runs on. */
export async function machineWords(): Promise<string[]> {
  const native = await loadNative();
  return [
    `${cpus()[0].model.trim()}, ${cpus().length} cores, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    `Node ${process.version}`,
    `TensorFlow.js ${tf.version.tfjs}`,
    native === null
      ? "TensorFlow absent"
      : `TensorFlow ${native.tensorflowVersion} ${native.kernels ? "with" : "without"} this project's kernels`,
  ];
}

/** The versions of the reference's packages in words, or null when Python does not have them. */
export function referenceWords(): string | null {
  const program = `
from importlib.metadata import version
import platform
print(f"transformers {version('transformers')}; torch {version('torch')}; Python {platform.python_version()}")`;
  const { status, stdout } = spawnSync(python(), ["-c", program], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : null;
}
