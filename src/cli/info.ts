import type { Command } from "commander";

import { demoCheckpoint } from "../demo-checkpoint.js";
import { type CheckpointInfo, checkpointInfo } from "../info.js";
import { modelOption, revisionOption } from "./options.js";

type Flags = { model?: string; revision?: string; json?: boolean };

/** `info [--model DIR]`: variant, sizes, stored types and parameter counts, without reading the weights. */
export function addInfo(program: Command): void {
  program
    .command("info")
    .description("describe a checkpoint without reading its weights")
    .addOption(modelOption())
    .addOption(revisionOption())
    .option("--json", "print one JSON object")
    .action(async ({ model = demoCheckpoint(), revision, json }: Flags) => {
      const info = await checkpointInfo(model, { revision });
      process.stdout.write(json ? `${JSON.stringify(info)}\n` : describe(info));
    });
}

function describe({ variant, config, parameters, bytesByForm }: CheckpointInfo): string {
  const { vision, text } = config;
  const count = (value: number) => value.toLocaleString("en-US");
  const stored = Object.entries(bytesByForm).map(([dtype, bytes]) => `${dtype} ${(bytes / 1e6).toFixed(1)} MB`);
  const lines = [
    ["variant", variant],
    ["image", `${vision.imageSize} x ${vision.imageSize} px, patches of ${vision.patchSize}`],
    ["vision", `${vision.numHiddenLayers} layers, width ${vision.hiddenSize}, ${vision.numAttentionHeads} heads`],
    [
      "text",
      `${text.numHiddenLayers} layers, width ${text.hiddenSize}, ${text.numAttentionHeads} query and ` +
        `${text.numKeyValueHeads} key heads of ${text.headDim}, vocabulary ${count(text.vocabSize)}`,
    ],
    ["context", `${count(text.maxPositionEmbeddings)} positions, window ${text.slidingWindow ?? "none"}`],
    ["parameters", count(parameters.total)],
    ["  vision", count(parameters.vision)],
    ["  projector", count(parameters.projector)],
    ["  language", count(parameters.language)],
    ["dtype", stored.join(", ")],
  ];
  return lines.map(([name, value]) => `${name.padEnd(12)}${value}\n`).join("");
}
