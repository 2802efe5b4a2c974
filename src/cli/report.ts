import { type Command, Option } from "commander";

import { reportRun } from "../pictures/report-run.js";
import { renderReport } from "../pictures/report.js";
import { writes } from "./declared-files.js";
import { addInspectionOptions, type InspectionFlags, questionOf, readEdits } from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { numberFor } from "./options.js";
import { writeOutput } from "./output-file.js";

type Flags = InspectionFlags & { out: string; maxNewTokens?: number };

/** `report IMAGE... --prompt TEXT --out FILE.html`: one page that shows a run, and needs no network. */
export function addReport(program: Command): void {
  addInspectionOptions(program.command("report"))
    .description("run once and write one HTML page: answer, attention over the picture, logit lens, knock-outs")
    .addOption(
      writes(new Option("--out <file>", "the .html file to write").makeOptionMandatory(), { endings: [".html"] }),
    )
    .option("--max-new-tokens <n>", "stop after that many tokens", numberFor("--max-new-tokens"))
    .action(async (images: string[], flags: Flags) => {
      const { out, maxNewTokens, prompt } = flags;
      const question = await questionOf(images, prompt, flags);
      const edits = await readEdits(flags.edits);
      const model = await loadWithProgress(flags);
      try {
        const data = await reportRun(model, { ...question, maxNewTokens, edits });
        const page = renderReport(data);
        await writeOutput(out, page);
        const { answer } = data;
        const summary = { out, bytes: Buffer.byteLength(page), answer, edits: data.edits };
        process.stdout.write(flags.json ? `${JSON.stringify(summary, null, 2)}\n` : `${answer}\n-> ${out}\n`);
      } finally {
        model.dispose();
      }
    });
}
