import { Argument, type Command, CommanderError } from "commander";

import { InputError } from "../base/errors.js";
import {
  compareRuns,
  exceeds,
  type RunDifference,
  type TensorDifference,
  worstOf,
} from "../inspection/compare-runs.js";
import { withHeadsOf } from "../runs/module-dump.js";
import { readRun } from "../runs/run-files.js";
import { readsFile } from "./declared-files.js";
import { numberFor } from "./options.js";

type Flags = { json?: boolean; limit?: number };

/**
 * `diff A B [--json] [--limit X]`: two runs, activation by activation; with a limit, exit code 1 where they differ by
 * more.
 */
export function addDiff(program: Command): void {
  program
    .command("diff")
    .description("compare the activations of two runs, in the order of computation")
    .addArgument(
      readsFile(
        new Argument("<a>", "a run: .safetensors, .npz, .npy, .json, or a folder of transformers' module dumps"),
      ),
    )
    .addArgument(readsFile(new Argument("<b>", "the run that it is compared with")))
    .option("--json", "print one JSON object")
    .option("--limit <x>", "most that max|a - b| / max(1, max|b|) may be", numberFor("--limit"))
    .action(async (a: string, b: string, { json = false, limit }: Flags) => {
      const [first, second] = [await readRun(a), await readRun(b)];
      const differences = compareRuns(
        withHeadsOf(first.tensors, second.tensors),
        withHeadsOf(second.tensors, first.tensors),
      );
      const worst = worstOf(differences);
      if (worst === null) throw new InputError(`diff: ${a} and ${b} have no activation in common`);
      const above = limit === undefined ? [] : differences.filter((one) => exceeds(one, limit));
      const notes = [...first.notes, ...second.notes];
      const report = {
        worst: worst.name,
        ...(limit === undefined ? {} : { limit, above: above.map(({ name }) => name) }),
      };
      const text = json
        ? `${JSON.stringify({ a, b, ...report, notes, differences })}\n`
        : table(differences, worst, above) + notes.map((note) => `note: ${note}\n`).join("");
      process.stdout.write(text);
      if (above.length > 0) fail(above, limit!);
    });
}

/** The exit code, with one sentence: the runs were read and compared, and they differ. */
function fail(above: readonly RunDifference[], limit: number): never {
  const more = above.length > 1 ? ` and ${above.length - 1} more` : "";
  const sentence = `diff: ${above[0].name}${more} differ by more than ${limit}`;
  process.stderr.write(`${sentence}\n`);
  throw new CommanderError(1, "paligemma.diff", sentence);
}

function table(
  differences: readonly RunDifference[],
  worst: TensorDifference,
  above: readonly RunDifference[],
): string {
  const name = Math.max(...differences.map((one) => one.name.length));
  const shape = Math.max(...differences.map((one) => shapeText(one.shape).length));
  const head = `  ${"".padEnd(name)}  ${"".padEnd(shape)}   max abs  relative  mean abs  cosine`;
  const lines = differences.map((one) => {
    const mark = one === worst ? "*" : above.includes(one) ? "!" : " ";
    return `${mark} ${one.name.padEnd(name)}  ${shapeText(one.shape).padEnd(shape)}  ${figures(one)}`;
  });
  const last = `* the worst${above.length > 0 ? `; ! above the limit too, first ${above[0].name}` : ""}`;
  return [head, ...lines, last].map((line) => `${line.trimEnd()}\n`).join("");
}

const shapeText = (shape: readonly number[]): string => `[${shape.join(", ")}]`;

function figures(one: RunDifference): string {
  if (one.kind === "shapes") return `has the shape ${shapeText(one.other)} in b`;
  if (one.kind !== "compared") return one.kind;
  const numbers = [one.maxAbs, one.relative, one.meanAbs].map((value) => value.toExponential(1).padStart(8));
  const apart = one.apart > 0 ? `  ${one.apart} closed or not finite on one side` : "";
  return `${numbers.join("  ")}  ${one.cosine.toFixed(9)}${apart}`;
}
