import type { RawImage } from "../input/image/decode.js";
import { abortSignal, checkOptions, list, number, type OptionKinds, text } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import type { ReportData, ReportEdit, ReportLens } from "./report-data.js";
import { attentionRows, type AttentionRows } from "../inspection/attention.js";
import type { Edit } from "../hooks/edit.js";
import { knockOut } from "../inspection/interventions.js";
import { type LensCell, logitLens } from "../inspection/lens.js";
import { logProbability, measure } from "../inspection/metric.js";
import { seenPictures } from "./seen-pictures.js";

/** What a report is made of. */
export type ReportRequest = {
  image: readonly RawImage[];
  prompt: string;
  maxNewTokens?: number | undefined;
  /** Changes of the reported run; the answer without them stands beside. */
  edits?: readonly Edit[] | undefined;
  signal?: AbortSignal | undefined;
};

const REPORT_KINDS: OptionKinds<ReportRequest> = {
  image: list,
  prompt: text,
  maxNewTokens: number,
  edits: list,
  signal: abortSignal,
};

/** Every position of a prompt that is no patch. */
const TEXT = ["bos", "prefix", "newline"];

/**
 * Runs one question and gathers all that a report shows of it: the answer with its probabilities, the attention of
 * every text and generated position, the logit lens over the prompt's text, and what knock-outs of the picture do to
 * the answer.
 */
export async function reportRun(model: PaliGemma, request: ReportRequest): Promise<ReportData> {
  const { image, prompt, maxNewTokens, edits = [], signal } = checkOptions("reportRun", request, REPORT_KINDS);
  const question = { image: [...image], prompt };
  const rows = await attentionRows(model, question, { queries: TEXT, generate: true, maxNewTokens, edits, signal });
  const cells = await logitLens(model, question, { positions: TEXT, edits });
  const ids = rows.generated.map(({ id }) => id);
  const start = rows.tokens.length - ids.length;
  return {
    model: model.name,
    backend: model.backend,
    dtype: model.dtype,
    settings: { ...model.network.settings },
    prompt,
    answer: model.tokenizer.decode(ids, { skipSpecialTokens: true }),
    tokens: rows.tokens.map((id) => ({ id, text: textOf(model, id) })),
    segments: rows.segments,
    grid: rows.grid,
    pictures: await seenPictures(model, image),
    steps: rows.generated.map(({ id, logProbability: value }, i) => ({
      id,
      text: textOf(model, id),
      probability: Math.min(1, Math.exp(value)),
      position: start + i,
    })),
    attention: rows,
    logitLens: lensOf(cells),
    edits: await triedEdits(model, request, rows),
  };
}

const textOf = (model: PaliGemma, id: number): string =>
  model.tokenizer.isSpecial(id) ? (model.tokenizer.idToToken(id) ?? "") : model.tokenizer.decode([id]);

function lensOf(cells: readonly LensCell[]): ReportLens {
  const layers = [...new Set(cells.map(({ layer }) => layer))];
  const positions = [...new Set(cells.map(({ position }) => position))];
  const at = (layer: number, position: number) =>
    cells.find((cell) => cell.layer === layer && cell.position === position)!;
  return { layers, positions, cells: layers.map((layer) => positions.map((position) => at(layer, position))) };
}

async function triedEdits(model: PaliGemma, request: ReportRequest, rows: AttentionRows): Promise<ReportEdit[]> {
  const { image, prompt, maxNewTokens, edits = [], signal } = request;
  const question = { image: [...image], prompt };
  const first = rows.generated[0]!.id;
  const answer = async (some: readonly Edit[]) => {
    const { text } = await model.generate(question, { edits: some, maxNewTokens, signal, numBeams: 1 });
    const logits = await model.runWithHooks(question, some);
    try {
      return { text, value: await measure(logProbability(first), logits) };
    } finally {
      logits.dispose();
    }
  };
  const compared = async (description: string, from: Answered, some: readonly Edit[], by: readonly Edit[]) => {
    const after = await answer(some);
    const deltaLogProbability = after.value - from.value;
    return { description, edits: by, before: from.text, after: after.text, deltaLogProbability };
  };
  const found: ReportEdit[] = [];
  const plain = await answer([]);
  if (edits.length > 0) found.push(await compared("the edits of this run", plain, edits, edits));
  const own = edits.length > 0 ? await answer(edits) : plain;
  for (const [description, to] of [
    ["the last position sees no patch", "last"],
    ["no text of the prompt sees a patch", TEXT],
  ] as const) {
    const edge = knockOut({ from: "image", to });
    found.push(await compared(description, own, [...edits, edge], [edge]));
  }
  return found;
}

type Answered = { text: string; value: number };
