import { type Command, Option } from "commander";

import { logitLens, type LensCell } from "../inspection/lens.js";
import { parsePositions } from "../hooks/positions.js";
import {
  addInspectionOptions,
  columns,
  indicesFor,
  type InspectionFlags,
  questionOf,
  readEdits,
} from "./inspection-options.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import { drawLogitLens } from "../pictures/logit-lens-grid.js";
import { loadWithProgress } from "./load.js";
import { drawingOption, numberFor } from "./options.js";
import { writePicture } from "./write-picture.js";

type Flags = InspectionFlags & {
  positions?: string;
  layers?: number[];
  top: number;
  out?: string;
  tower: "language" | "vision";
};

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
    .addOption(drawingOption("draw the grid of blocks and positions, to a .png or .svg file"))
    .addOption(
      new Option("--tower <name>", "whose stream; the vision tower's is an extrapolation through the projector")
        .choices(["language", "vision"])
        .default("language"),
    )
    .action(async (images: string[], flags: Flags) => {
      const { out } = flags;
      const question = await questionOf(images, flags.prompt, flags);
      const edits = await readEdits(flags.edits);
      const model = await loadWithProgress(flags);
      try {
        const { tower, layers, top: topK } = flags;
        const positions = flags.positions === undefined ? undefined : parsePositions(flags.positions);
        const cells = await logitLens(model, question, { tower, layers, positions, topK, edits });
        if (out !== undefined)
          await drawn(out, cells, await labelsOf(model, question, cells), `logit lens: ${flags.prompt}`);
        process.stdout.write(flags.json ? `${JSON.stringify(cells, null, 2)}\n` : inWords(cells));
      } finally {
        model.dispose();
      }
    });
}

/** The token of each position that the lens has looked at. */
async function labelsOf(
  model: PaliGemma,
  question: Question,
  cells: readonly LensCell[],
): Promise<Map<number, string>> {
  const { tokens } = await model.describe(question);
  return new Map(cells.map(({ position }) => [position, model.tokenizer.decode([tokens[0]![position]!])]));
}

async function drawn(
  out: string,
  cells: readonly LensCell[],
  labels: Map<number, string>,
  title: string,
): Promise<void> {
  const layers = [...new Set(cells.map(({ layer }) => layer))];
  const rows = layers.map((layer) => cells.filter((cell) => cell.layer === layer));
  await writePicture(out, drawLogitLens({ cells: rows, layers, labels: [...labels.values()], title }));
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
