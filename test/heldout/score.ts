import path from "node:path";

import { Command, Option } from "commander";

import { BACKENDS, type BackendChoice } from "../../src/backends/backend.js";
import { PaliGemma } from "../../src/paligemma.js";
import { detectionIous } from "./boxes.js";
import { heldoutFolder, type HeldoutItem, heldoutPictures } from "./heldout.js";
import { segmentationIous } from "./masks.js";

/**
 * The least that each kind must reach: exact answers, or mean IoU for boxes and masks. Kinds without a limit are
 * reported.
 */
const LIMITS: Record<string, number> = { caption: 0.9, answer: 0.9, ocr: 0.9, detect: 0.9, segment: 0.6 };

const flags = new Command("score")
  .description("score a checkpoint on the held-out pictures")
  .option("--model <dir>", "model folder; default the bundled demo checkpoint")
  .addOption(new Option("--backend <name>", "where to compute").choices(BACKENDS).default("auto"))
  .option("--show", "print every answer that is not right")
  .parse()
  .opts<{ model?: string; backend: BackendChoice; show?: boolean }>();

/** Scores by group: the kind, and for captions each language too. */
class Scores {
  private readonly values = new Map<string, number[]>();
  add(item: HeldoutItem, scores: number[]): void {
    const groups = item.kind === "caption" ? ["caption", item.prompt] : [item.kind];
    for (const group of groups) this.values.set(group, [...(this.values.get(group) ?? []), ...scores]);
  }
  lines(): { group: string; mean: number; count: number; limit: number | undefined }[] {
    return [...this.values].sort().map(([group, scores]) => ({
      group,
      mean: scores.reduce((sum, score) => sum + score, 0) / scores.length,
      count: scores.length,
      limit: LIMITS[group.split(" ")[0]],
    }));
  }
}

/** The scores of one item, and what the model has said. */
async function scoresOf(model: PaliGemma, image: string, item: HeldoutItem): Promise<{ values: number[]; text: string }> {
  if (item.masks) {
    const things = item.prompt.replace(/^segment /, "").split(" ; ");
    const { objects, text } = await model.segment(image, things, { maxNewTokens: 128, stopAtRepeatedBox: false });
    return { values: segmentationIous(objects, item.masks), text };
  }
  const { text } = await model.generate({ image, prompt: item.prompt }, { maxNewTokens: 128 });
  const exact = Number(text === item.expected);
  return { values: item.kind === "detect" ? detectionIous(text, item.expected) : [exact], text };
}

async function main(): Promise<boolean> {
  const model = await PaliGemma.load(flags.model, { backend: flags.backend });
  const scores = new Scores();
  for (const { file, items } of heldoutPictures()) {
    const image = path.join(heldoutFolder, file);
    for (const item of items) {
      const { values, text } = await scoresOf(model, image, item);
      scores.add(item, values);
      const right = text === item.expected;
      if (flags.show && !right) console.log(`${file} ${item.prompt}\n  expected ${item.expected}\n  received ${text}`);
    }
  }
  model.dispose();
  console.log(`${heldoutPictures().length} held-out pictures on ${model.backend}`);
  const lines = scores.lines();
  for (const { group, mean, count, limit } of lines) {
    const measure = group === "detect" || group === "segment" ? `mean IoU ${mean.toFixed(3)}` : `exact ${(100 * mean).toFixed(1)} %`;
    const verdict = limit === undefined ? "" : mean >= limit ? `  ok (limit ${limit})` : `  BELOW ${limit}`;
    console.log(`${group.padEnd(12)} ${measure.padEnd(16)} of ${count}${verdict}`);
  }
  return lines.every(({ mean, limit }) => limit === undefined || mean >= limit);
}

process.exitCode = (await main()) ? 0 : 1;
