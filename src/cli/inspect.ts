import { type Command, Option } from "commander";

import { InputError } from "../base/errors.js";
import { exportRun, type KeptPass, type RunDescription } from "../runs/export-run.js";
import { parsePositions } from "../hooks/positions.js";
import { RUN_ENDINGS } from "../runs/run-files.js";
import type { CaptureRequest } from "../hooks/run.js";
import type { PaliGemma } from "../paligemma.js";
import { writes } from "./declared-files.js";
import { addInspectionOptions, type InspectionFlags, questionOf, readEdits } from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { numberFor } from "./options.js";

type Flags = InspectionFlags & {
  hooks: string;
  out: string;
  format?: string;
  positions?: string;
  keys?: string;
  generate?: number;
};

/** `inspect IMAGE... --prompt TEXT --hooks GLOB[,GLOB...] --out FILE`: one run, its activations as a file. */
export function addInspect(program: Command): void {
  addInspectionOptions(program.command("inspect"))
    .description("run over picture and prompt, and save the chosen activations")
    .requiredOption(
      "--hooks <globs>",
      "names to save, such as language.blocks.*.attn.hook_pattern; commas between several",
    )
    .addOption(
      writes(
        new Option(
          "--out <file>",
          "the file to write: .safetensors, .npz, or .json for small things",
        ).makeOptionMandatory(),
        { endings: RUN_ENDINGS, at: (out, { format }) => fileOf(out, format as string | undefined) },
      ),
    )
    .addOption(
      new Option("--format <name>", "form of the file (default: by its ending)").choices([
        "safetensors",
        "npz",
        "json",
      ]),
    )
    .option("--positions <list>", "positions to keep, such as last, image, -1 or 3:7 (default: all)")
    .option("--keys <list>", "key positions of scores and patterns to keep (default: all)")
    .option("--generate <n>", "generate up to n tokens, and save each one's pass as NAME@step", numberFor("--generate"))
    .action(async (images: string[], flags: Flags) => {
      const question = await questionOf(images, flags.prompt, flags);
      const edits = await readEdits(flags.edits);
      const model = await loadWithProgress(flags);
      const out = fileOf(flags.out, flags.format);
      const passes: KeptPass[] = [];
      try {
        const part = { positions: selector(flags.positions), keys: selector(flags.keys) };
        const request = { hooks: splitGlobs(flags.hooks), ...part };
        const { text: answer, ...run } = await keep(
          model,
          question,
          { request, edits, generate: flags.generate },
          passes,
        );
        await exportRun(out, model, passes, {
          ...run,
          ...part,
          prompt: flags.prompt,
          imageSizes: question.image,
          edits,
        });
        const names = passes.flatMap(({ cache }) => cache.names);
        const text = answer === undefined ? "" : `; the answer: ${answer}`;
        process.stdout.write(
          flags.json
            ? `${JSON.stringify({ out, activations: names.length, passes: passes.length, text: answer }, null, 2)}\n`
            : `${names.length} activations -> ${out}${text}\n`,
        );
      } finally {
        passes.forEach(({ cache }) => cache.dispose());
        model.dispose();
      }
    });
}

/** The file that is written: with a format its ending is put behind another one. */
const fileOf = (out: string, format: string | undefined): string =>
  format === undefined || out.endsWith(`.${format}`) ? out : `${out}.${format}`;

const selector = (text: string | undefined) => (text === undefined ? undefined : parsePositions(text));

type Kept = Pick<RunDescription, "tokens" | "segments" | "grid"> & { text?: string };

/** Fills `passes`: the prompt's, or with `generate` those of every token. */
async function keep(
  model: PaliGemma,
  question: Awaited<ReturnType<typeof questionOf>>,
  how: { request: CaptureRequest; edits: Awaited<ReturnType<typeof readEdits>>; generate: number | undefined },
  passes: KeptPass[],
): Promise<Kept> {
  const { request, edits, generate } = how;
  if (generate === undefined) {
    const { cache, tokens, segments, grid } = await model.runWithCache(question, {
      ...request,
      edits,
      stopAt: "needed",
    });
    passes.push({ step: 0, cache });
    return { tokens, segments, grid };
  }
  const answer: number[] = [];
  for await (const piece of model.generateWithCache(question, {
    capture: request,
    edits,
    maxNewTokens: generate,
    numBeams: 1,
  })) {
    passes.push({ step: piece.step, cache: piece.cache });
    answer.push(piece.token);
  }
  if (passes.every(({ cache }) => cache.names.length === 0)) {
    throw new InputError("--positions: no pass of this answer has any of them");
  }
  const { tokens, segments, grid } = await model.describe(question);
  return {
    tokens: [[...tokens[0]!, ...answer]],
    segments,
    grid,
    text: model.tokenizer.decode(answer, { skipSpecialTokens: true }),
  };
}

/** Splits at the commas that are not inside braces: `{a,b}` is one glob. */
export const splitGlobs = (globs: string): string[] => globs.split(/,(?![^{]*\})/).filter((glob) => glob !== "");
