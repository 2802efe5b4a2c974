import type { Command } from "commander";

import { decodeImage } from "../input/image/decode.js";
import { columns } from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, pictureArgument } from "./options.js";

type Flags = LoadFlags & { prompt: string; json?: boolean };

/** `score IMAGE ANSWER... --prompt TEXT`: how likely each given answer is. */
export function addScore(program: Command): void {
  addLoadOptions(program.command("score"))
    .description("the log-likelihood of given answers, the likeliest first")
    .addArgument(pictureArgument())
    .argument("<answer...>", "answers to compare")
    .requiredOption("--prompt <text>", "the prompt")
    .option("--json", "print the result as JSON")
    .action(async (file: string, answers: string[], flags: Flags) => {
      const image = await decodeImage(file, "image", { fetchPictures: flags.fetchPictures });
      const model = await loadWithProgress(flags);
      try {
        const scored = await model.score({ image, prompt: flags.prompt }, answers);
        scored.sort((a, b) => b.logLikelihood - a.logLikelihood);
        const rows = scored.map((one) => [
          one.answer,
          one.logLikelihood.toFixed(4),
          String(one.tokens.length),
          one.perplexity.toFixed(3),
        ]);
        const table = columns([["answer", "log-likelihood", "tokens", "perplexity"], ...rows]);
        process.stdout.write(flags.json ? `${JSON.stringify(scored, null, 2)}\n` : table);
      } finally {
        model.dispose();
      }
    });
}
