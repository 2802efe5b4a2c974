import { BACKENDS, type BackendChoice } from "../backends/backend.js";
import { InputError } from "../base/errors.js";
import { anything, checkOptions, flag, type OptionKinds } from "../base/options.js";
import { type Asked, type BackendReport, backendsOf, type CheckTools, reportOn } from "./backends.js";
import type { memoryBandwidth } from "./bandwidth.js";
import { type Gpus, gpus } from "./gpu.js";
import { type Memory, memory, type Processor, processor } from "./machine.js";
import { type Versions, versions } from "./versions.js";

/** What is looked at. */
export type DiagnoseOptions = {
  /** The backend that must work; default "auto": whichever are there. */
  backend?: BackendChoice | undefined;
  /** Whether tfjs-node-gpu must be there and compute on a GPU. */
  gpu?: boolean | undefined;
};

const DIAGNOSE_KINDS: OptionKinds<DiagnoseOptions> = { backend: anything, gpu: flag };

/** Whether this machine is right, and what it is: what a report of a problem should hold. */
export type Diagnosis = {
  /** Whether nothing that is there or was asked for is wrong. */
  ok: boolean;
  versions: Versions;
  processor: Processor;
  memory: Memory;
  gpu: Gpus;
  /** Variables of the environment that change what is computed and where; none of them is secret. */
  environment: Record<string, string>;
  backends: BackendReport[];
};

/**
 * Variables that TensorFlow, CUDA, Node and this project read; other programs keep secrets in names that begin with TF.
 */
const VARIABLES =
  /^(PALIGEMMA|TF_(CPP|ENABLE|FORCE|GPU|NUM|XLA)|CUDA|NVIDIA|OMP|UV)_\w+$|^LD_LIBRARY_PATH$|^NODE_OPTIONS$/;

/**
 * Looks at versions, processor, memory, GPUs and backends; compares each backend that is there with transformers on the
 * demo checkpoint, and times it, each in a process of its own: some ten seconds. What is wrong is said in the
 * diagnosis, with what to do, and not thrown. Throws `InputError` for a backend that there is not, and for `gpu` with
 * another backend than tensorflow.
 */
export async function diagnose(
  options: DiagnoseOptions = {},
  tools: CheckTools & { bandwidth?: typeof memoryBandwidth } = {},
): Promise<Diagnosis> {
  const { backend = "auto", gpu = false } = checkOptions("diagnose", options, DIAGNOSE_KINDS);
  requireKnown({ backend, gpu });
  const asked: Asked = { backend, gpu };
  const [seen, measured] = [await gpus(tools.run), await memory(tools.bandwidth)];
  const backends: BackendReport[] = [];
  // One after another: two at a time would slow each other down.
  for (const name of backendsOf(asked)) backends.push(await reportOn(name, asked, tools));
  return {
    ok: backends.every(({ fault }) => !fault),
    versions: versions(),
    processor: processor(),
    memory: measured,
    gpu: seen,
    environment: environment(),
    backends,
  };
}

function requireKnown({ backend, gpu }: Asked): void {
  const known = gpu ? (["auto", "tensorflow"] as const) : BACKENDS;
  if (known.some((name) => name === backend)) return;
  const why = gpu ? " with gpu" : "";
  throw new InputError(`backend: expected one of ${known.join(", ")}${why}, received ${JSON.stringify(backend)}`);
}

const environment = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env)
      .filter((entry): entry is [string, string] => VARIABLES.test(entry[0]) && entry[1] !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );
