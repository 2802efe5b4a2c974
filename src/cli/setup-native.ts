import type { Command } from "commander";

import { BackendError } from "../base/errors.js";
import { setupNative } from "../setup/setup.js";

/** `setup-native [--gpu]`: installs the native backend, building it where its own download cannot work. */
export function addSetupNative(program: Command): void {
  program
    .command("setup-native")
    .description("install the native backend (tfjs-node), building it where its download cannot work")
    .option("--gpu", "for CUDA (tfjs-node-gpu)")
    .option("--force", "do it again from the start")
    .option("--check", "only say whether it works")
    .action(async (flags: { gpu?: boolean; force?: boolean; check?: boolean }) => {
      if (!(await setupNative(flags)))
        throw new BackendError("setup-native: the native backend does not work here yet");
    });
}
