import { type Command, Option } from "commander";

import { logitLens, type LensCell } from "../inspection/lens.js";
import { parsePositions } from "../inspection/positions.js";
import {
  addInspectionOptions,
  columns,
  indicesFor,
  type InspectionFlags,
  questionOf,
  readEdits,
} from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { numberFor } from "./options.js";

type Flags = InspectionFlags & { positions?: string; layers?: number[]; top: number; tower: "language" | "vision" };

/** `lens IMAGE... --prompt TEXT`: what the stream behind each block would say, and how it nears the answer. */
export function addLens(program: Command): void {
  addInspectionOptions(program.command("lens"))
    .description("the logit lens: what each block's residual stream would answer")
    .option(
      "--positions <list>",
      "positions such as last, image or 3:7 (default: last; all patches of the vision tower)",
    )
    .option("--layers <list>", "blocks, such as 0,2 or 4:8 (default: all)", indicesFor("--layers"))
    .option("--top <n>", "tokens to name", numberFor("--top"), 5)
    .addOption(
      new Option("--tower <name>", "whose stream; the vision tower's is an extrapolation through the projector")
        .choices(["language", "vision"])
        .default("language"),
    )
    .action(async (images: string[], flags: Flags) => {
      const question = await questionOf(images, flags.prompt);
      const edits = await readEdits(flags.edits);
      const model = await loadWithProgress(flags);
      try {
        const { tower, layers, top: topK } = flags;
        const positions = flags.positions === undefined ? undefined : parsePositions(flags.positions);
        const cells = await logitLens(model, question, { tower, layers, positions, topK, edits });
        process.stdout.write(flags.json ? `${JSON.stringify(cells, null, 2)}\n` : inWords(cells));
      } finally {
        model.dispose();
      }
    });
}

function inWords(cells: readonly LensCell[]): string {
  const head = ["layer", "position", "tokens", "entropy", "rank of the answer", "its probability", "KL to the end"];
  const rows = cells.map((cell) => [
    String(cell.layer),
    String(cell.position),
    cell.top.map(({ text, probability }) => `${JSON.stringify(text)} ${probability.toFixed(3)}`).join(" "),
    cell.entropy.toFixed(3),
    String(cell.finalRank),
    cell.finalProbability.toFixed(4),
    cell.klToFinal.toFixed(4),
  ]);
  const note = cells.some(({ extrapolated }) => extrapolated)
    ? "Extrapolated: blocks of the vision tower are not aligned with the vocabulary.\n"
    : "";
  return note + columns([head, ...rows]);
}
