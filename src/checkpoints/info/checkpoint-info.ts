import * as tf from "@tensorflow/tfjs";

import "../../backends/backend.js";
import type { Checkpoint } from "../../../weights/checkpoint.js";
import type { Folder } from "../../../weights/byte-source.js";
import type { OutputHead } from "../../../weights/tied-head.js";
import { describeVariant, numImageTokens, type PaliGemmaConfig } from "../../model/config.js";
import { type GenerationConfig, loadGenerationConfig } from "../../loading/generation-config.js";
import { loadConfig } from "../../loading/load-network.js";
import { memoryByDtype, type MemoryByDtype } from "../../backends/memory.js";
import { expectedTensors } from "../../model/model.js";
import { HUB_KINDS, type HubOptions, openPlace, requirePlace } from "../../loading/resolve-model.js";
import { openCheckpoint } from "../../loading/open-checkpoint.js";
import { checkOptions, either, flag, listOf, oneOf, type OptionKinds, text } from "../../base/options.js";
import { type AdapterSummary, adapterSummary } from "./adapter-summary.js";
import { type FilesFound, filesOf } from "./files.js";
import { type NamesLayout, layoutOf } from "./layout.js";
import { type PartSummary, partsOf, type Part } from "./parts.js";
import { type TensorInfo, tensorInfos } from "./tensors.js";
import { type TokenizerSummary, tokenizerSummary } from "./tokenizer-summary.js";

/** A checkpoint in numbers, read from its config and its headers alone unless more is asked for. */
export type CheckpointInfo = {
  variant: string;
  config: PaliGemmaConfig;
  /** `<image>` tokens of one picture. */
  imageTokens: number;
  /** Numbers in all tensors that the model reads, in all and by part; the embedding counts to the language model. */
  parameters: { total: number; vision: number; projector: number; language: number };
  /** Bytes on disk by stored type, "BF16" and so on, or packed form, "nf4" and so on. */
  bytesByForm: Record<string, number>;
  /** The same by part; the embedding is one of its own. */
  parts: Record<Part, PartSummary>;
  layout: NamesLayout;
  /**
   * The output head: the embedding, a tensor of its own, or one beside the embedding that was not compared with it
   * (`check`).
   */
  outputHead: OutputHead;
  /** How it decodes where a call does not say, or why its generation_config.json cannot be followed. */
  generation: GenerationConfig | { error: string };
  /** What was found that loading would tell of. */
  notices: string[];
  memory: MemoryByDtype;
  files: FilesFound;
  /** What was asked for. */
  adapters?: AdapterSummary[];
  tokenizer?: TokenizerSummary;
  tensors?: TensorInfo[];
  /** What was compared beyond the headers, which are always compared with the files' sizes and the config. */
  checked?: string[];
};

/** What is told besides. */
export type InfoOptions = HubOptions & {
  /** Folders of adapters, which are compared with the model. */
  adapters?: readonly string[] | undefined;
  /** Reads the tokenizer too. */
  tokenizer?: boolean | undefined;
  /**
   * A glob of tensors that are read, one after another, for their statistics; null: all are listed and none is read.
   */
  tensors?: string | null | undefined;
  /** Compares the bytes of an output head in the file with the embedding. */
  check?: boolean | undefined;
};

const INFO_KINDS: OptionKinds<InfoOptions> = {
  ...HUB_KINDS,
  adapters: listOf(text, "a list of folders"),
  tokenizer: flag,
  tensors: either(text, oneOf(null)),
  check: flag,
};

/**
 * Looks a model folder over without loading it; a model on the Hub is not downloaded. Throws as `PaliGemma.load` does
 * when the folder is unusable, and as `AdapterFile.open` for an adapter that does not fit.
 */
export async function checkpointInfo(model: string, options: InfoOptions = {}): Promise<CheckpointInfo> {
  await tf.ready(); // the layers that name the tensors are made on whatever backend there is
  const { revision, token, onNotice } = checkOptions("checkpointInfo", options, INFO_KINDS);
  requirePlace("checkpointInfo", model);
  const folder = await openPlace(model, { revision, token, onNotice });
  const { checkpoint, config } = await openCheckpoint(folder, await loadConfig(folder), {
    compareHead: options.check === true,
  });
  try {
    const expected = expectedTensors(config);
    checkpoint.check(expected);
    const parts = partsOf(checkpoint);
    const layout = await layoutOf(folder, checkpoint);
    const count = (...of: Part[]) => of.reduce((sum, part) => sum + parts[part].parameters, 0);
    const info: CheckpointInfo = {
      variant: describeVariant(config),
      config,
      imageTokens: numImageTokens(config),
      parameters: {
        total: count("vision", "projector", "language", "embedding"),
        vision: count("vision"),
        projector: count("projector"),
        language: count("language", "embedding"),
      },
      bytesByForm: Object.fromEntries(checkpoint.bytesByForm),
      parts,
      layout,
      outputHead: checkpoint.head,
      generation: await generationOf(folder, config),
      notices: [...checkpoint.notices],
      memory: memoryByDtype(checkpoint),
      files: await filesOf(folder, layout.form),
    };
    return { ...info, ...(await askedFor(folder, config, { checkpoint, expected }, options)) };
  } finally {
    await checkpoint.close();
  }
}

/** What loading would make of generation_config.json, with the end tokens that are in force. */
async function generationOf(folder: Folder, config: PaliGemmaConfig): Promise<CheckpointInfo["generation"]> {
  try {
    const { eosTokenIds, ...rest } = await loadGenerationConfig(folder, config.text.vocabSize);
    return { eosTokenIds: eosTokenIds ?? config.eosTokenIds, ...rest };
  } catch (error) {
    return { error: (error as Error).message };
  }
}

type Asked = Pick<CheckpointInfo, "adapters" | "tokenizer" | "tensors" | "checked">;

async function askedFor(
  folder: Folder,
  config: PaliGemmaConfig,
  { checkpoint, expected }: { checkpoint: Checkpoint; expected: ReadonlyMap<string, readonly number[]> },
  { adapters, tokenizer, tensors, check }: InfoOptions,
): Promise<Asked> {
  const asked: Asked = {};
  if (adapters && adapters.length > 0) {
    asked.adapters = [];
    for (const place of adapters) asked.adapters.push(await adapterSummary(place, expected));
  }
  if (tokenizer) asked.tokenizer = await tokenizerSummary(folder, config);
  if (tensors !== undefined) asked.tensors = await tensorInfos(checkpoint, tensors);
  if (check) {
    asked.checked = [
      checkpoint.head === "own"
        ? "the output head in the file differs from the embedding and is used as it is"
        : "an output head in the file has the bytes of the embedding, or there is none",
    ];
  }
  return asked;
}
