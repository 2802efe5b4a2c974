export { type AdapterSummary, adapterSummary } from "./adapter-summary.js";
export { type CheckpointInfo, checkpointInfo, type InfoOptions } from "./checkpoint-info.js";
export type { FilesFound } from "./files.js";
export type { NamesLayout } from "./layout.js";
export type { Part, PartSummary } from "./parts.js";
export type { Statistics } from "./statistics.js";
export type { TensorInfo } from "./tensors.js";
export type { TokenizerSummary } from "./tokenizer-summary.js";
