import { type Command, Option } from "commander";

import { InputError } from "../base/errors.js";
import { logitDifference } from "../inspection/metric.js";
import { activationPatching, type PatchingResult } from "../inspection/patching.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import { readsFile } from "./declared-files.js";
import { columns, indicesFor, questionOf } from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, pictureArgument } from "./options.js";

type Flags = LoadFlags & {
  prompt: string;
  corruptImage?: string;
  corruptPrompt?: string;
  leaf: string;
  by: "position" | "head";
  positions?: string;
  layers?: number[];
  answer?: string;
  against?: string;
  json?: boolean;
};

/**
 * `patch IMAGE --prompt TEXT --corrupt-image FILE | --corrupt-prompt TEXT`: puts activations of one run into another.
 */
export function addPatch(program: Command): void {
  addLoadOptions(program.command("patch"))
    .description("activation patching: where the clean run's activations bring its answer back into the corrupted run")
    .addArgument(pictureArgument("picture of the clean run"))
    .requiredOption("--prompt <text>", "prompt of the clean run")
    .addOption(readsFile(new Option("--corrupt-image <file>", "picture of the corrupted run (default: the same)")))
    .option("--corrupt-prompt <text>", "prompt of the corrupted run, as many tokens long (default: the same)")
    .option("--leaf <name>", "what is patched, below language.blocks.N.", "hook_resid_pre")
    .addOption(new Option("--by <axis>", "what a column is").choices(["position", "head"]).default("position"))
    .option("--positions <list>", "a column for each, such as image,prefix,last (default: each position)")
    .option("--layers <list>", "blocks, such as 0,2 or 4:8 (default: all)", indicesFor("--layers"))
    .option("--answer <text>", "text whose first token is the right answer (default: the clean run's own)")
    .option("--against <text>", "text whose first token is the wrong one (default: the corrupted run's own)")
    .option("--json", "print the result as JSON")
    .action(async (image: string, flags: Flags) => {
      const clean = await questionOf([image], flags.prompt, flags);
      const corrupted = await questionOf([flags.corruptImage ?? image], flags.corruptPrompt ?? flags.prompt, flags);
      const model = await loadWithProgress(flags);
      try {
        const tokens = [
          await firstToken(model, flags.answer, clean, "--answer"),
          await firstToken(model, flags.against, corrupted, "--against"),
        ] as const;
        if (tokens[0] === tokens[1]) {
          throw new InputError(
            "patch: both runs answer with the same token; give --answer and --against, or another corruption",
          );
        }
        const positions = flags.positions?.split(",");
        const { leaf, by, layers } = flags;
        const metric = logitDifference(...tokens);
        const found = await activationPatching(model, { clean, corrupted }, metric, { leaf, by, layers, positions });
        const [answer, against] = tokens.map((id) => model.tokenizer.decode([id]));
        const result = {
          metric: `logit of ${JSON.stringify(answer)} less that of ${JSON.stringify(against)}`,
          ...found,
        };
        process.stdout.write(flags.json ? `${JSON.stringify(result, null, 2)}\n` : inWords(result));
      } finally {
        model.dispose();
      }
    });
}

async function firstToken(
  model: PaliGemma,
  text: string | undefined,
  question: Question,
  flag: string,
): Promise<number> {
  const ids =
    text === undefined
      ? (await model.generate(question, { maxNewTokens: 1, temperature: 0, numBeams: 1 })).tokens
      : model.tokenizer.encode(text);
  if (ids[0] === undefined) throw new InputError(`${flag}: expected text of at least one token, received "${text}"`);
  return ids[0];
}

function inWords({
  metric,
  clean,
  corrupted,
  columns: names,
  layers,
  values,
}: PatchingResult & { metric: string }): string {
  const head = ["layer", ...names.map(String)];
  const rows = layers.map((layer, i) => [String(layer), ...values[i]!.map((value) => value.toFixed(3))]);
  return `${metric}: clean ${clean.toFixed(3)}, corrupted ${corrupted.toFixed(3)}\n${columns([head, ...rows])}`;
}
