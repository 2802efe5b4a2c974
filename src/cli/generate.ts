import type { Command } from "commander";

import { DEFAULT_MAX_NEW_TOKENS } from "../decoding/options.js";
import type { GenerationOptions } from "../decoding/text-options.js";
import { decodeImage } from "../image.js";
import type { Question } from "../questions/question.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, numberFor } from "./options.js";

type Flags = LoadFlags & {
  prompt: string;
  maxNewTokens: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  seed?: string;
  json?: boolean;
};

/** `generate IMAGE... --prompt TEXT`: the answer as text, streamed, or with everything known about it as one JSON line. */
export function addGenerate(program: Command): void {
  addLoadOptions(program.command("generate"))
    .description("ask about one picture, or about several together")
    .argument("<image...>", "picture files (JPEG, PNG, WebP, TIFF, GIF, AVIF)")
    .requiredOption("--prompt <text>", 'what is asked, such as "caption en" or "detect circle"')
    .option("--max-new-tokens <n>", "stop after n tokens", numberFor("--max-new-tokens"), DEFAULT_MAX_NEW_TOKENS)
    .option("--temperature <t>", "sample, with logits divided by t", numberFor("--temperature"))
    .option("--top-k <k>", "sample among the k most likely tokens", numberFor("--top-k"))
    .option("--top-p <p>", "sample among the most likely tokens that make up p", numberFor("--top-p"))
    .option("--seed <seed>", "make sampling repeatable")
    .option("--json", "print one JSON object")
    .action(async (images: string[], flags: Flags) => {
      // Before the weights: a picture that cannot be read should not cost their loading.
      const image = await Promise.all(images.map((file) => decodeImage(file, "image")));
      const start = performance.now();
      const model = await loadWithProgress(flags);
      const load = performance.now() - start;
      const { maxNewTokens, temperature, topK, topP, seed } = flags;
      const options: GenerationOptions = { maxNewTokens, temperature, topK, topP, seed };
      const question: Question = { image, prompt: flags.prompt };
      try {
        if (flags.json) {
          const answer = await model.generate(question, options);
          const timings = { load, ...answer.timings };
          process.stdout.write(`${JSON.stringify({ ...answer, timings })}\n`);
          return;
        }
        for await (const { text } of model.stream(question, options)) process.stdout.write(text);
        process.stdout.write("\n");
      } finally {
        model.dispose();
      }
    });
}
