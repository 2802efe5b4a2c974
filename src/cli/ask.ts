import type { Command } from "commander";

import { decodeImage, type RawImage } from "../input/image/decode.js";
import type { PaliGemma } from "../paligemma.js";
import type { Answer } from "../answering/answer.js";
import type { LanguageOptions } from "../tasks/task-methods.js";
import { loadWithProgress } from "./load.js";
import { addLoadOptions, type LoadFlags, numberFor, pictureArgument } from "./options.js";

type Flags = LoadFlags & {
  language?: string;
  style?: "cap" | "caption" | "describe";
  maxNewTokens?: number;
  json?: boolean;
};
type Ask = (model: PaliGemma, image: RawImage, options: LanguageOptions) => Promise<Answer>;

/** `caption IMAGE`, `ocr IMAGE` and `answer IMAGE QUESTION`: one task each, worded as the checkpoints were trained. */
export function addTasks(program: Command): void {
  task(program.command("caption").description("describe a picture").addArgument(pictureArgument()))
    .option("--language <code>", "language code, such as de")
    .option("--style <name>", "cap, caption or describe")
    .action((file: string, flags: Flags) =>
      run(file, flags, (model, image, options) => model.caption(image, { ...options, style: flags.style })),
    );
  task(program.command("ocr").description("read the text in a picture").addArgument(pictureArgument())).action(
    (file: string, flags: Flags) =>
      run(file, flags, (model, image, { maxNewTokens }) => model.ocr(image, { maxNewTokens })),
  );
  task(program.command("answer").description("answer a question about a picture").addArgument(pictureArgument()))
    .argument("<question>", "the question")
    .option("--language <code>", "language code, such as de")
    .action((file: string, question: string, flags: Flags) =>
      run(file, flags, (model, image, options) => model.answer(image, question, options)),
    );
}

const task = (command: Command): Command =>
  addLoadOptions(command)
    .option("--max-new-tokens <n>", "stop after n tokens", numberFor("--max-new-tokens"))
    .option("--json", "print one JSON object");

async function run(file: string, flags: Flags, ask: Ask): Promise<void> {
  const image = await decodeImage(file, "image", { fetchPictures: flags.fetchPictures });
  const model = await loadWithProgress(flags);
  try {
    const { language, maxNewTokens, json } = flags;
    const answer = await ask(model, image, { language, maxNewTokens });
    process.stdout.write(json ? `${JSON.stringify(answer)}\n` : `${answer.text}\n`);
  } finally {
    model.dispose();
  }
}
