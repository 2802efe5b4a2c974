import { type Command, Option } from "commander";

import { InputError } from "../base/errors.js";
import { attentionRows, type AttentionRows, meanRow } from "../inspection/attention.js";
import { parsePositions } from "../hooks/positions.js";
import { seenPictures } from "../pictures/seen-pictures.js";
import type { PaliGemma } from "../paligemma.js";
import { drawAttentionMap } from "../pictures/attention-map.js";
import { drawHeadGallery } from "../pictures/head-gallery.js";
import { drawOverview } from "../pictures/overview.js";
import { NORMALISATIONS, type Normalisation } from "../pictures/page/scale.js";
import type { SeenPicture } from "../pictures/seen-picture.js";
import { massBySegment } from "../pictures/sinks.js";
import type { SegmentName } from "../model/segments.js";
import {
  addInspectionOptions,
  columns,
  indicesFor,
  type InspectionFlags,
  questionOf,
  readEdits,
} from "./inspection-options.js";
import { loadWithProgress } from "./load.js";
import { drawingOption, numberFor } from "./options.js";
import { writePicture } from "./write-picture.js";

type View = "map" | "gallery" | "overview";
type Flags = InspectionFlags & {
  query?: string;
  token?: number;
  layers?: number[];
  heads?: number[];
  view: View;
  segment: SegmentName;
  normalisation: Normalisation;
  undoSquash?: boolean;
  out?: string;
};

/** `attention IMAGE --prompt TEXT`: what one query of the decoder attends to, in numbers and drawn over the picture. */
export function addAttention(program: Command): void {
  addInspectionOptions(program.command("attention"))
    .description("what a query of the decoder attends to, in numbers, and with --out as a picture")
    .option("--query <position>", "a position of the prompt (default: last, which chooses the first token)")
    .option(
      "--token <n>",
      "generate, and take the query that chose the n-th token, counted from 0",
      numberFor("--token"),
    )
    .option("--layers <list>", "blocks, such as 0,2 or 4:8 (default: all)", indicesFor("--layers"))
    .option("--heads <list>", "query heads (default: all)", indicesFor("--heads"))
    .addOption(
      new Option("--view <name>", "mean over blocks and heads, each one, or a number for each")
        .choices(["map", "gallery", "overview"])
        .default("map"),
    )
    .option("--segment <name>", "of the overview: the segment whose mass a cell is", "image")
    .addOption(new Option("--normalisation <name>", "how values become colours").choices(NORMALISATIONS).default("raw"))
    .option("--undo-squash", "draw in the picture's own proportions")
    .addOption(drawingOption("the .png or .svg to write"))
    .action(async (images: string[], flags: Flags) => {
      const question = await questionOf(images, flags.prompt, flags);
      const edits = await readEdits(flags.edits);
      const generate = flags.token !== undefined;
      if (generate && flags.query !== undefined) throw new InputError("--query: expected it or --token, received both");
      const model = await loadWithProgress(flags);
      try {
        const queries = flags.query === undefined ? "last" : parsePositions(flags.query);
        const maxNewTokens = generate ? flags.token! + 1 : undefined;
        const rows = await attentionRows(model, question, { queries, generate, maxNewTokens, edits });
        const query = flags.token ?? 0;
        if (!generate && rows.queries.length !== 1) {
          throw new InputError(`--query: expected one position, received ${rows.queries.length}`);
        }
        if (query >= rows.queries.length)
          throw new InputError(`--token: the answer has ${rows.queries.length} tokens only`);
        if (flags.out !== undefined) {
          await writePicture(flags.out, await svgOf(model, question.image, rows, query, flags), 2);
        }
        process.stdout.write(flags.json ? json(model, rows, query, flags) : inWords(model, rows, query, flags));
      } finally {
        model.dispose();
      }
    });
}

/** The query in words, by what it reads and what it chose. */
function titleOf(model: PaliGemma, rows: AttentionRows, query: number): string {
  const at = rows.queries[query]!;
  const spelt = (id: number) => JSON.stringify(model.tokenizer.decode([id]));
  const chosen = rows.generated[query];
  return `position ${at}, ${spelt(rows.tokens[at]!)}${chosen ? `, which chose ${spelt(chosen.id)}` : ""}`;
}

async function svgOf(
  model: PaliGemma,
  images: Awaited<ReturnType<typeof questionOf>>["image"],
  rows: AttentionRows,
  query: number,
  { view, layers, heads, segment, normalisation, undoSquash = false }: Flags,
): Promise<string> {
  const { grid } = rows;
  const patches = grid[0] * grid[1];
  const title = titleOf(model, rows, query);
  const every = (count: number, some?: number[]) => some ?? Array.from({ length: count }, (_, i) => i);
  const [chosenLayers, chosenHeads] = [every(rows.layers, layers), every(rows.heads, heads)];
  const cells = chosenLayers.flatMap((layer) =>
    chosenHeads.map((head) => meanRow(rows, query, { layers: [layer], heads: [head] })),
  );
  if (view === "overview") {
    const values = cells.map((row) => massOn(rows, row, segment));
    if (normalisation === "renormalised")
      throw new InputError('--normalisation: an overview is drawn "raw", "min-max" or "log"');
    const meaning = `mass on ${segment}`;
    return drawOverview({
      values,
      layers: chosenLayers.length,
      heads: chosenHeads.length,
      title,
      meaning,
      normalisation,
    });
  }
  const [picture] = (await seenPictures(model, images)) as [SeenPicture];
  const common = { grid, picture, normalisation, undoSquash };
  if (view === "gallery") {
    const values = cells.flatMap((row) => Array.from(row.subarray(0, patches)));
    return drawHeadGallery({ ...common, values, layers: chosenLayers, heads: chosenHeads, title });
  }
  const row = meanRow(rows, query, { layers, heads });
  const which = `mean of ${layers ? `blocks ${layers.join(", ")}` : "all blocks"} and ${heads ? `heads ${heads.join(", ")}` : "all heads"}`;
  return drawAttentionMap({
    ...common,
    values: row.subarray(0, patches),
    title: `${title}; ${which}`,
    masses: massBySegment(row, rows.segments),
  });
}

const massOn = (rows: AttentionRows, row: Float32Array, segment: string): number => {
  const masses = massBySegment(row, rows.segments).filter(({ name }) => name === segment);
  if (masses.length > 0) return masses.reduce((sum, { mass }) => sum + mass, 0);
  const names = [...new Set(rows.segments.map(({ name }) => name))].join(", ");
  throw new InputError(`--segment: expected one of ${names}, received "${segment}"`);
};

function json(model: PaliGemma, rows: AttentionRows, query: number, { layers, heads }: Flags): string {
  const { segments, grid, tokens, generated, queries } = rows;
  const row = meanRow(rows, query, { layers, heads });
  const tokenStrings = tokens.map((id) => model.tokenizer.idToToken(id) ?? "");
  const result = {
    query: queries[query],
    layers,
    heads,
    mean: Array.from(row),
    segments,
    grid,
    tokens,
    tokenStrings,
    generated,
  };
  return `${JSON.stringify(result, null, 2)}\n`;
}

function inWords(model: PaliGemma, rows: AttentionRows, query: number, { layers, heads, out }: Flags): string {
  const row = meanRow(rows, query, { layers, heads });
  const best = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]!);
  const where = (at: number) => {
    const [, across] = rows.grid;
    const segment = rows.segments.find(({ start, end }) => at >= start && at < end)!;
    if (segment.name !== "image")
      return `${segment.name} ${JSON.stringify(model.tokenizer.decode([rows.tokens[at]!]))}`;
    return `patch at row ${Math.floor(at / across)}, column ${at % across}`;
  };
  const masses = massBySegment(row, rows.segments).map(({ name, mass }) => [`on ${name}`, mass.toFixed(4)]);
  const largest = best.slice(0, 5).map((at) => [`${at}: ${where(at)}`, row[at]!.toFixed(4)]);
  return `${titleOf(model, rows, query)}\n${columns([...masses, ["", ""], ...largest])}${out ? `-> ${out}\n` : ""}`;
}
