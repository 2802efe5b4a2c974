import type { BackendReport } from "../doctor/backends.js";
import type { CheckedBackend } from "../doctor/check-backend.js";
import type { Diagnosis } from "../doctor/diagnose.js";
import { isSeen } from "../doctor/gpu.js";

/** Columns of a terminal, and those before a line's text. */
const [WIDTH, INDENT] = [80, 12];

/** A diagnosis as people read it: a name and what there is to say in each line, and what to do beside it. */
export function describeDiagnosis(diagnosis: Diagnosis): string {
  const { environment, backends, ok } = diagnosis;
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const last = ok ? "all that is here or was asked for is right" : "something is wrong, see above";
  return [
    ...machineLines(diagnosis),
    ...settings.map((setting, i) => line(i === 0 ? "settings" : "", setting)),
    "",
    ...backends.flatMap(backendLines),
    "",
    line(ok ? "ok" : "WRONG", last),
  ]
    .map((text) => `${text}\n`)
    .join("");
}

function machineLines({ versions, processor, memory, gpu }: Diagnosis): string[] {
  const { model, count, usable, features } = processor;
  const processors = `${model}, ${count} processor${count === 1 ? "" : "s"}${usable < count ? `, ${usable} usable` : ""}`;
  const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;
  const room = `${gigabytes(memory.totalBytes)}, ${gigabytes(memory.availableBytes)} available`;
  const native = versions.native.map(({ name, version }) => `${name} ${version}`);
  return [
    line("system", versions.system),
    line("package", `paligemma-tfjs ${versions.package}, node ${versions.node}`),
    line("tfjs", [versions.tfjs, ...native].join(", ")),
    line("pictures", `sharp ${versions.sharp}, libvips ${versions.libvips}`),
    line("processor", processors),
    ...(features === null ? [] : [line("", features.join(" ") || "none of the features that kernels are made for")]),
    line("memory", `${room}, read at ${memory.bandwidth.toFixed(1)} GB/s`),
    ...gpuLines(gpu),
  ];
}

function gpuLines(gpu: Diagnosis["gpu"]): string[] {
  const { devices, files, driver, library } = gpu;
  if (!isSeen(gpu)) return [line("gpu", "none seen")];
  const found = [
    ...devices,
    files.length > 0 ? files.join(" ") : "no device file",
    driver ?? "no driver in /proc",
    library ?? "no libcuda.so.1",
  ];
  return found.map((text, i) => line(i === 0 ? "gpu" : "", text));
}

function backendLines({ backend, state, reason, advice, checked, said }: BackendReport): string[] {
  const mark = state === "right" ? "" : state === "absent" ? "absent: " : `${state.toUpperCase()}: `;
  return [
    ...(reason === null ? [] : [line(backend, `${mark}${reason}`)]),
    ...(checked === null
      ? []
      : checkedLines(checked).map((text, i) => line(i === 0 && reason === null ? backend : "", text))),
    ...(state === "right" ? [] : said.map((text) => line("", text))),
    ...(advice === null ? [] : [line("", `-> ${advice}`)]),
  ];
}

function checkedLines({ kernels, threads, native, cuda, parity, demo }: CheckedBackend): string[] {
  const { hooks, worst, scaled, limit, tokensEqual } = parity;
  const on = threads > 0 ? `, ${threads} thread${threads === 1 ? "" : "s"}` : "";
  const version =
    native === null ? "" : `TensorFlow ${native.tensorflowVersion} on the ${native.gpu ? "GPU" : "CPU"}, `;
  const tokens = tokensEqual ? "tokens equal" : "tokens differ";
  const error = `${scaled.toExponential(1)} of at most ${limit.toExponential(0)}`;
  const milliseconds = (value: number): string => `${value.toFixed(value < 10 ? 1 : 0)} ms`;
  return [
    `${version}kernels ${kernels}${on}`,
    ...(cuda.length === 0 ? [] : [cuda.join(" ")]),
    `worst error ${error} in ${hooks} hooks (${worst}), ${tokens}`,
    `demo in ${demo.dtype}: first token ${milliseconds(demo.firstToken)}, each further ${milliseconds(demo.furtherToken)}`,
  ];
}

/** A name and a text that is broken between words, behind the name's column. */
function line(name: string, text: string): string {
  const rows: string[] = [];
  for (const word of text.split(" ")) {
    const row = rows.at(-1);
    if (row === undefined || INDENT + row.length + 1 + word.length > WIDTH) rows.push(word);
    else rows[rows.length - 1] = `${row} ${word}`;
  }
  return rows.map((row, i) => `${(i === 0 ? name : "").padEnd(INDENT)}${row}`.trimEnd()).join("\n");
}
