import type { Command } from "commander";

import { exportRun } from "../export-run.js";
import { decodeImage } from "../image.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags } from "./options.js";

type Flags = LoadFlags & { prompt: string; hooks: string; out: string };

/** `inspect IMAGE... --prompt TEXT --hooks GLOB[,GLOB...] --out FILE`: one forward pass, its activations as safetensors. */
export function addInspect(program: Command): void {
  addLoadOptions(program.command("inspect"))
    .description("run once over picture and prompt, and save the chosen activations")
    .argument("<image...>", "picture files")
    .requiredOption("--prompt <text>", "the prompt")
    .requiredOption(
      "--hooks <globs>",
      "names to save, such as language.blocks.*.attn.hook_pattern; commas between several",
    )
    .requiredOption("--out <file>", "the safetensors file to write")
    .action(async (images: string[], flags: Flags) => {
      const { prompt } = flags;
      const image = await Promise.all(images.map((file) => decodeImage(file, "image")));
      const model = await loadWithProgress(flags);
      try {
        const run = await model.runWithCache({ image, prompt }, { hooks: splitGlobs(flags.hooks) });
        const about = { prompt, imageSizes: image };
        await exportRun(flags.out, model, run, about);
        process.stdout.write(`${run.cache.names.length} activations -> ${flags.out}\n`);
        run.cache.dispose();
        run.logits.dispose();
      } finally {
        model.dispose();
      }
    });
}

/** Splits at the commas that are not inside braces: `{a,b}` is one glob. */
export const splitGlobs = (globs: string): string[] => globs.split(/,(?![^{]*\})/).filter((glob) => glob !== "");
