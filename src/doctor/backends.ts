import { BACKENDS, type BackendChoice, type BackendName } from "../backends/backend.js";
import { askChild } from "../backends/native/ask-child.js";
import { nativePackage } from "../backends/native/layout.js";
import { findNative } from "../backends/native/load.js";
import { mainLine, run as realRun, type Run } from "../backends/native/process.js";
import type { CheckedBackend, CheckRequest, CheckResult } from "./check-backend.js";

/**
 * What was found of one backend: it is right, gives wrong numbers, cannot be used although it is there, or is absent.
 */
export type BackendReport = {
  backend: BackendName;
  state: "right" | "wrong" | "broken" | "absent";
  /** Whether this is what was asked for: an absent backend that was not asked for is no fault. */
  fault: boolean;
  /** Why it is not right; null where it is. */
  reason: string | null;
  /** What to do about it, or to make it better; null where there is nothing to do. */
  advice: string | null;
  checked: CheckedBackend | null;
  /** What TensorFlow says of GPUs while it looks for one that was asked for. */
  said: string[];
};

/** What is asked for: every backend that is there ("auto"), or one; with `gpu` the backend tensorflow on a GPU. */
export type Asked = { backend: BackendChoice; gpu: boolean };

/** How commands are run and a backend is checked; tests put something else here. */
export type CheckTools = { run?: Run; check?: (request: CheckRequest) => Promise<CheckResult> };

/** A check takes two seconds, on plain JavaScript with other work beside it ten. */
const TIME_LIMIT = 60_000;

/** The backends that are looked at, in the order of preference. */
export const backendsOf = ({ backend, gpu }: Asked): BackendName[] => {
  if (gpu) return ["tensorflow"];
  const names = BACKENDS.filter((name): name is BackendName => name !== "auto");
  return backend === "auto" ? names : [backend];
};

/** Checks one backend in a process of its own, which a broken native part may end. Never throws. */
export async function reportOn(backend: BackendName, asked: Asked, tools: CheckTools = {}): Promise<BackendReport> {
  const { gpu } = asked;
  const wanted = gpu || asked.backend === backend;
  if (backend === "tensorflow" && !isInstalled(gpu)) {
    const reason = gpu ? `${nativePackage(true)} is not installed` : `not installed${wanted ? "" : ", and optional"}`;
    return { backend, state: "absent", fault: wanted, reason, advice: setup(gpu), checked: null, said: [] };
  }
  const said: string[] = [];
  const check = tools.check ?? ((request) => checkInChild(request, tools.run ?? realRun, said));
  const result = await check({ backend, gpu });
  if (result.ok) return { ...judged(backend, result.checked, gpu), said };
  const advice = backend === "tensorflow" ? setup(gpu) : "install the package anew (npm ci)";
  return { backend, state: "broken", fault: true, reason: mainLine(result.reason), advice, checked: null, said };
}

async function checkInChild(request: CheckRequest, run: Run, said: string[]): Promise<CheckResult> {
  const module = new URL(import.meta.url.endsWith(".ts") ? "check-backend.ts" : "check-backend.js", import.meta.url)
    .href;
  const env = { ...process.env, ...(request.gpu && { TF_CPP_MIN_LOG_LEVEL: "0" }) };
  const heard: Run = async (...command) => {
    const result = await run(...command);
    if (request.gpu) said.push(...wordsOfGpus(result.stderr));
    return result;
  };
  return askChild<{ checked: CheckedBackend }>(module, request, { run: heard, env, timeoutMs: TIME_LIMIT });
}

/** Of a log, the sentences about GPUs, each once, without time and place. */
const wordsOfGpus = (log: string): string[] => {
  const lines = log.split("\n").filter((line) => /gpu|cuda|cudnn|dlopen/i.test(line));
  return [...new Set(lines.map((line) => line.replace(/^.*?\] /, "").trim()))].slice(0, 12);
};

const isInstalled = (gpu: boolean): boolean =>
  findNative().some(({ packageName }) => !gpu || packageName === nativePackage(true));

function judged(backend: BackendName, checked: CheckedBackend, gpu: boolean): Omit<BackendReport, "said"> {
  const report = (state: BackendReport["state"], reason: string | null, advice: string | null) => ({
    backend,
    state,
    fault: state !== "right",
    reason,
    advice,
    checked,
  });
  const { scaled, limit, worst, tokensEqual } = checked.parity;
  // A comparison with NaN is false.
  if (!(scaled <= limit)) {
    const advice = checked.native?.gpu ? `${TENSOR_CORES}; else ${WRONG_NUMBERS}` : WRONG_NUMBERS;
    return report("wrong", `${worst} is off by ${scaled.toExponential(1)}`, advice);
  }
  if (!tokensEqual) return report("wrong", "the decoded tokens are not those of transformers", WRONG_NUMBERS);
  if (gpu && !checked.native?.gpu) return report("broken", "TensorFlow sees no GPU and computes on the CPU", NO_GPU);
  const slow = backend === "tensorflow" && checked.native?.kernels === false && !checked.native.gpu;
  return report("right", null, slow && !process.env.PALIGEMMA_KERNELS ? NO_KERNELS : null);
}

const setup = (gpu: boolean): string => {
  const [flag, inPackage] = gpu ? [" -- --gpu", " --gpu"] : ["", ""];
  return `npm run setup:native${flag} (outside a checkout: npx paligemma setup-native${inPackage})`;
};

const WRONG_NUMBERS = "use another backend, and report this with the whole output of paligemma doctor --json";
/** Source: NVIDIA, cuBLAS and cuDNN documentation: products of float32 may round their operands to 10 bit. */
const TENSOR_CORES = "a GPU may round products to TF32: set NVIDIA_TF32_OVERRIDE=0 and run this again";
const NO_GPU =
  "see the lines of the gpu above: the driver must be there, and CUDA_VISIBLE_DEVICES must not hide it; else set LD_LIBRARY_PATH as setup has said";
const NO_KERNELS = `faster with the project's kernels: ${setup(false)}, with a C++ compiler`;
