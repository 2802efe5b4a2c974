import { type Command, Option } from "commander";

import type { GenerationOptions } from "../decoding/text-options.js";
import { InputError } from "../base/errors.js";
import { decodeImage, type RawImage } from "../input/image/decode.js";
import type { PaliGemma } from "../paligemma.js";
import { DEFAULT_BATCH_SIZE } from "../answering/answer-batch.js";
import { videoFrames } from "../answering/video.js";
import { promptHint } from "../grammar/prompts.js";
import { readsFile } from "./declared-files.js";
import { addDecodingOptions, type DecodingFlags, decodingOptions } from "./decoding-options.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, numberFor, picturesArgument } from "./options.js";
import { readPrompts } from "./prompts-file.js";

type Flags = LoadFlags &
  DecodingFlags & {
    prompt?: string;
    prompts?: string;
    frames?: number;
    json?: boolean;
  };

/**
 * `generate IMAGE... --prompt TEXT`: the answer as text, streamed, or with everything known about it as one JSON line.
 * With `--prompts FILE` one line for each prompt, and the pictures are encoded once.
 */
export function addGenerate(program: Command): void {
  const command = addLoadOptions(program.command("generate"))
    .description("ask about one picture, or about several together")
    .addArgument(picturesArgument("picture files (JPEG, PNG, WebP, TIFF, GIF, AVIF, BMP, PNM), or addresses"))
    .option("--prompt <text>", 'what is asked, such as "caption en" or "detect circle"')
    .addOption(
      readsFile(new Option("--prompts <file>", "ask every line of a text file (UTF-8, or UTF-16 by its mark)")),
    )
    .option("--frames <n>", "n evenly spaced frames of an animation, or of the pictures", numberFor("--frames"));
  addDecodingOptions(command)
    .option("--json", "print one JSON object for each prompt")
    .action(async (files: string[], flags: Flags) => {
      const prompts = await promptsOf(flags);
      // Before the weights: a picture that cannot be read should not cost their loading.
      const image = await picturesOf(files, flags);
      const start = performance.now();
      const model = await loadWithProgress(flags);
      const load = performance.now() - start;
      try {
        await (flags.prompts === undefined ? askOne : askAll)(model, { image, prompts, flags, load });
      } finally {
        model.dispose();
      }
    });
}

type Asked = { image: RawImage[]; prompts: string[]; flags: Flags; load: number };

async function promptsOf({ prompt, prompts }: Flags): Promise<string[]> {
  if ((prompt === undefined) === (prompts === undefined)) {
    throw new InputError("generate: expected either --prompt or --prompts; say what is asked");
  }
  const asked = prompts === undefined ? [prompt!] : await readPrompts(prompts);
  for (const one of asked) {
    const hint = promptHint(one);
    if (hint !== null) process.stderr.write(`hint: ${hint}\n`);
  }
  return asked;
}

async function picturesOf(files: string[], { frames, fetchPictures }: Flags): Promise<RawImage[]> {
  if (frames === undefined) return Promise.all(files.map((file) => decodeImage(file, "image", { fetchPictures })));
  return videoFrames(files.length === 1 ? files[0]! : files, frames, { fetchPictures });
}

async function askOne(model: PaliGemma, { image, prompts, flags, load }: Asked): Promise<void> {
  const question = { image, prompt: prompts[0] };
  const options = decodingOptions(flags);
  if (flags.json) {
    const answer = await model.generate(question, options);
    const timings = { load, ...answer.timings };
    process.stdout.write(`${JSON.stringify({ ...answer, timings })}\n`);
  } else if (isRanked(model.inForce(options))) {
    process.stdout.write(`${(await model.generate(question, options)).text}\n`);
  } else {
    for await (const { text } of model.stream(question, options)) process.stdout.write(text);
    process.stdout.write("\n");
  }
}

// Beams and the best of several are known at the end alone.
const isRanked = ({ numBeams = 1, bestOf = 1 }: GenerationOptions): boolean => numBeams !== 1 || bestOf !== 1;

// A line for each prompt, as soon as its group is answered.
async function askAll(model: PaliGemma, { image, prompts, flags }: Asked): Promise<void> {
  const options = decodingOptions(flags);
  const encoded = await Promise.all(image.map((picture) => model.encodePicture(picture)));
  try {
    for (let from = 0; from < prompts.length; from += DEFAULT_BATCH_SIZE) {
      const group = prompts.slice(from, from + DEFAULT_BATCH_SIZE);
      const answers = await model.generateBatch(
        group.map((prompt) => ({ image: encoded, prompt })),
        options,
      );
      answers.forEach((answer, i) => {
        const line = flags.json
          ? JSON.stringify({ prompt: group[i], ...answer })
          : `${group[i]}\t${oneLine(answer.text)}`;
        process.stdout.write(`${line}\n`);
      });
    }
  } finally {
    for (const picture of encoded) picture.dispose();
  }
}

const oneLine = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\t", "\\t");
