import type { AdapterSummary, CheckpointInfo, TensorInfo, TokenizerSummary } from "../checkpoints/info/index.js";
import { adapterLine } from "./adapter-line.js";

type Line = [name: string, value: string];

const count = (value: number): string => value.toLocaleString("en-US");
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const forms = (bytesByForm: Record<string, number>): string =>
  Object.entries(bytesByForm)
    .map(([form, bytes]) => `${form} ${megabytes(bytes)}`)
    .join(", ");
const printed = (lines: Line[]): string => lines.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");

/** A checkpoint as people read it. */
export function describeInfo(info: CheckpointInfo): string {
  const { parts, memory, files, checked } = info;
  const part = ([name, { parameters, bytesByForm }]: [string, (typeof parts)["vision"]]): Line => [
    `  ${name}`,
    `${count(parameters)}, ${forms(bytesByForm)}`,
  ];
  const missing = files.missing.length > 0 ? `; missing: ${files.missing.join(", ")}` : "";
  const lines: Line[] = [
    ...modelLines(info),
    ["parameters", count(info.parameters.total)],
    ...Object.entries(parts).map(part),
    ["dtype", forms(info.bytesByForm)],
    [
      "memory",
      Object.entries(memory)
        .map(([dtype, bytes]) => `${dtype} ${megabytes(bytes)}`)
        .join(", "),
    ],
    ["names", layoutText(info)],
    ["head", headText(info)],
    ["decoding", decodingText(info)],
    ["files", `${files.found.join(", ") || "none beside the weights"}${missing}`],
    ...(info.tokenizer ? [tokenizerLine(info.tokenizer)] : []),
    ...info.notices.map((notice): Line => ["notice", notice]),
    ["checked", ["headers against the sizes of the files and the config", ...(checked ?? [])].join("; ")],
  ];
  return (
    printed(lines) + (info.adapters ?? []).map(describeAdapter).join("") + (info.tensors ?? []).map(tensorLine).join("")
  );
}

function modelLines({ variant, config, imageTokens }: CheckpointInfo): Line[] {
  const { vision, text } = config;
  return [
    ["variant", variant],
    [
      "image",
      `${vision.imageSize} x ${vision.imageSize} px, patches of ${vision.patchSize}, ${count(imageTokens)} image tokens`,
    ],
    ["vision", `${vision.numHiddenLayers} layers, width ${vision.hiddenSize}, ${vision.numAttentionHeads} heads`],
    [
      "text",
      `${text.numHiddenLayers} layers, width ${text.hiddenSize}, ${text.numAttentionHeads} query and ` +
        `${text.numKeyValueHeads} key heads of ${text.headDim}, vocabulary ${count(text.vocabSize)}`,
    ],
    ["context", `${count(text.maxPositionEmbeddings)} positions, window ${text.slidingWindow ?? "none"}`],
  ];
}

function decodingText({ generation }: CheckpointInfo): string {
  if ("error" in generation) return `cannot be used: ${generation.error}`;
  const { eosTokenIds, doSample, options, sampling, unsupportedSampling } = generation;
  const drawn = Object.keys(sampling).length > 0 && !doSample ? { "where a call samples": sampling } : sampling;
  const set = Object.entries({ ...options, ...(doSample && { doSample }), ...drawn });
  return [
    `ends at ${eosTokenIds!.join(", ")}`,
    ...set.map(([name, value]) => `${name} ${JSON.stringify(value)}`),
    ...unsupportedSampling.map((field) => `calls that sample are refused for ${field}`),
  ].join("; ");
}

function headText({ outputHead }: CheckpointInfo): string {
  if (outputHead === "own") return "a matrix of its own";
  return outputHead === "embedding" ? "the embedding" : "the embedding, beside one that --check compares with it";
}

function layoutText({ layout: { form, files, names, prefix } }: CheckpointInfo): string {
  const where = files.length === 1 ? files[0] : `${files.length} files, ${files[0]} and so on`;
  const own = form === "safetensors" ? "of several layouts" : `of ${form}`;
  return `${names ?? own}${prefix === "" ? "" : ` behind "${prefix}"`}, in ${where}`;
}

function tokenizerLine(tokenizer: TokenizerSummary): Line {
  if ("error" in tokenizer) return ["tokenizer", `cannot be used: ${tokenizer.error}`];
  const { kind, vocabularySize, ids, locations, segments } = tokenizer;
  const special = Object.entries(ids).map(([role, id]) => `${role} ${id ?? "none"}`);
  const added = `${locations} location and ${segments} segment tokens`;
  return ["tokenizer", `${kind}, ${count(vocabularySize)} ids, ${special.join(", ")}; ${added}`];
}

/** An adapter as people read it. */
export function describeAdapter({ folder, config, counts }: AdapterSummary): string {
  const { r, loraAlpha, useRslora, useDora, targetModules, modulesToSave, baseModel } = config;
  const kind = `LoRA${useRslora ? ", rank-stabilised" : ""}${useDora ? ", with magnitudes (DoRA)" : ""}`;
  const targets = typeof targetModules === "string" ? targetModules : targetModules.join(", ");
  const lines: Line[] = [
    ["adapter", `${folder}: ${kind}, rank ${r}, alpha ${loraAlpha}`],
    ["  targets", targets],
    ...(modulesToSave.length > 0 ? [["  whole", modulesToSave.join(", ")] as Line] : []),
    ["  base", baseModel ?? "not said"],
  ];
  if (counts)
    lines.push([
      "  brings",
      adapterLine({ ...counts, name: "", source: "", weight: null, merged: false }).replace(/^adapter : /, ""),
    ]);
  return printed(lines);
}

function tensorLine({ name, form, shape, statistics }: TensorInfo): string {
  const line = `${name} ${form} [${shape.join(", ")}]`;
  if (!statistics) return `${line}\n`;
  const { min, max, mean, std, nan, infinite } = statistics;
  const shown = Object.entries({ min, max, mean, std }).map(
    ([what, value]) => `${what} ${value?.toPrecision(4) ?? "none"}`,
  );
  return `${line} ${shown.join(" ")} nan ${nan} infinite ${infinite}\n`;
}
