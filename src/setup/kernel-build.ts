import { mkdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import path from "node:path";

import { withTemporary } from "../../weights/temporary.js";
import { builtAddons, kernelAddonPath, sourceFolder, sources } from "../backends/native/kernel-addon.js";
import type { Run } from "../backends/native/process.js";
import { commandFailed, type Toolchain } from "./tools.js";

const COMMON = [
  "-O3",
  "-std=c++17",
  "-fPIC",
  "-ffp-contract=fast",
  "-fno-math-errno",
  "-fvisibility=hidden",
  "-pthread",
];

const AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mfma", "-mf16c", "-mprefer-vector-width=512"];

/**
 * Kernels for instruction sets beyond the least that the compiler assumes. Each is left out, with everything behind it,
 * where the compiler does not know its flags; `define` tells dispatch.cc that it is there.
 */
const INSTRUCTION_SETS = [
  { file: "avx2.cc", define: "PALIGEMMA_HAVE_AVX2", flags: ["-mavx2", "-mfma", "-mf16c"] },
  { file: "avx512.cc", define: "PALIGEMMA_HAVE_AVX512", flags: AVX512 },
  { file: "avx512bf16.cc", define: "PALIGEMMA_HAVE_AVX512BF16", flags: [...AVX512, "-mavx512bf16"] },
  { file: "amx.cc", define: "PALIGEMMA_HAVE_AMX", flags: [...AVX512, "-mamx-tile", "-mamx-bf16", "-mavx512bf16"] },
];

/**
 * Compiles `native/` against the TensorFlow that the package in `folder` was built with, into that folder (about half a
 * minute on two cores). Throws a BackendError with the compiler's words.
 */
export async function buildKernelAddon(folder: string, { cxx }: Toolchain, run: Run): Promise<void> {
  const target = kernelAddonPath(folder);
  await withTemporary(target, async (work) => {
    await mkdir(work, { recursive: true });
    const nodeHeaders = createRequire(import.meta.url)("node-api-headers") as { include_dir: string };
    const tensorflow = path.join(folder, "deps", "include");
    const include = [tensorflow, nodeHeaders.include_dir, path.join(sourceFolder(), "stand-in")];
    const flags = include.map((one) => `-I${one}`);
    const objects = await compileSources({ cxx, work, flags, wanted: () => true }, run);
    const libraries = path.join(folder, "deps", "lib");
    const link = ["-shared", "-pthread", "-o", path.join(work, "addon.node"), ...objects];
    const find = [`-L${libraries}`, `-Wl,-rpath,${rpath()}`, "-ltensorflow_framework", "-ltensorflow"];
    const system = process.platform === "darwin" ? ["-undefined", "dynamic_lookup"] : [];
    const result = await run(cxx, [...link, ...find, ...system], { timeoutMs: 300_000 });
    if (result.code !== 0) throw commandFailed("linking the kernels", result, "The linker's words follow.");
    await rename(path.join(work, "addon.node"), target);
    for (const old of builtAddons(folder)) if (old !== target) await rm(old);
  });
}

const rpath = (): string => (process.platform === "darwin" ? "@loader_path/../deps/lib" : "$ORIGIN/../deps/lib");

const isInstructionSet = (file: string): boolean => INSTRUCTION_SETS.some((set) => path.basename(file) === set.file);

/** What to compile, where the objects go, and flags beside the usual. */
export type SourceRequest = { cxx: string; work: string; flags: string[]; wanted: (file: string) => boolean };

/**
 * Compiles the wanted sources, named by their paths below `native/`, for every instruction set that the compiler knows,
 * and returns the objects. Throws a BackendError with the compiler's words.
 */
export async function compileSources({ wanted, ...request }: SourceRequest, run: Run): Promise<string[]> {
  const compile = compiler(request, run);
  const extra = process.arch === "x64" ? await compileInstructionSets(compile) : { objects: [], defines: [] };
  const rest = sources().filter((file) => file.endsWith(".cc") && !isInstructionSet(file) && wanted(file));
  const objects = await Promise.all(rest.map((file) => mustCompile(compile, file, extra.defines)));
  return [...extra.objects, ...objects];
}

type Compile = (file: string, flags: string[]) => Promise<{ object: string; result: Awaited<ReturnType<Run>> }>;

function compiler({ cxx, work, flags: usual }: Omit<SourceRequest, "wanted">, run: Run): Compile {
  return inLanes(availableParallelism(), async (file, flags) => {
    const object = path.join(work, `${file.replaceAll(path.sep, "-")}.o`);
    const source = path.join(sourceFolder(), file);
    const args = [...COMMON, `-I${sourceFolder()}`, ...usual, ...flags, "-c", source, "-o", object];
    return { object, result: await run(cxx, args, { timeoutMs: 600_000 }) };
  });
}

/** The same, with no more than `count` calls under way: a compiler takes a processor and some hundred megabytes. */
function inLanes<Args extends unknown[], Result>(
  count: number,
  work: (...args: Args) => Promise<Result>,
): (...args: Args) => Promise<Result> {
  const lanes = Array.from({ length: count }, (): Promise<unknown> => Promise.resolve());
  let calls = 0;
  return (...args) => {
    const lane = calls++ % count;
    const result = lanes[lane].then(() => work(...args));
    lanes[lane] = result.catch(() => undefined);
    return result;
  };
}

async function mustCompile(compile: Compile, file: string, flags: string[]): Promise<string> {
  const { object, result } = await compile(file, flags);
  if (result.code === 0) return object;
  throw commandFailed(`compiling native/${file}`, result, "The compiler's words follow.");
}

/** An older compiler may lack the newest instructions; the kernels without them stay. */
async function compileInstructionSets(compile: Compile): Promise<{ objects: string[]; defines: string[] }> {
  const results = await Promise.all(
    INSTRUCTION_SETS.map(({ file, flags }) => compile(path.join("kernels", file), flags)),
  );
  const known = results.findIndex(({ result }) => result.code !== 0);
  const present = INSTRUCTION_SETS.slice(0, known < 0 ? undefined : known);
  return {
    objects: results.slice(0, present.length).map(({ object }) => object),
    defines: present.map(({ define }) => `-D${define}`),
  };
}
