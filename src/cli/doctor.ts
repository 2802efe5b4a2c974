import { type Command, CommanderError, Option } from "commander";

import { BACKENDS, type BackendChoice } from "../backends/backend.js";
import { diagnose } from "../doctor/diagnose.js";
import { describeDiagnosis } from "./describe-diagnosis.js";

type Flags = { backend: BackendChoice; gpu?: boolean; json?: boolean };

/**
 * `doctor [--backend NAME] [--gpu] [--json]`: whether this machine is right; exit code 1 where something asked for is
 * not.
 */
export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("say whether this machine is right: versions, hardware, backends compared with transformers and timed")
    .addOption(new Option("--backend <name>", "the backend that must work").choices(BACKENDS).default("auto"))
    .option("--gpu", "tfjs-node-gpu must be there, and compute on a GPU")
    .option("--json", "print one JSON object")
    .action(async ({ backend, gpu, json }: Flags) => {
      const diagnosis = await diagnose({ backend, gpu });
      process.stdout.write(json ? `${JSON.stringify(diagnosis, null, 2)}\n` : describeDiagnosis(diagnosis));
      if (diagnosis.ok) return;
      const faults = diagnosis.backends.filter(({ fault }) => fault);
      const sentence = `doctor: ${faults.map((one) => `${one.backend}: ${one.reason}`).join("; ")}`;
      process.stderr.write(`${sentence}\n`);
      throw new CommanderError(1, "paligemma.doctor", sentence);
    });
}
