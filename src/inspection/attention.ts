import { patchGrid } from "../model/config.js";
import { InputError } from "../base/errors.js";
import type { DecodingOptions } from "../decoding/options.js";
import type { ModelInputs } from "../model/inputs.js";
import { abortSignal, anything, checkOptions, flag, list, number, type OptionKinds } from "../base/options.js";
import type { PaliGemma } from "../paligemma.js";
import type { Question } from "../answering/question.js";
import type { Segment } from "../model/segments.js";
import type { ActivationCache } from "../hooks/activation-cache.js";
import type { Intervention } from "../hooks/edit-tap.js";
import { decodeAndKeep } from "../decoding/captured-generation.js";
import { checkIndices } from "../hooks/indices.js";
import { promptPass } from "../hooks/pass.js";
import type { Positions } from "../hooks/positions.js";

/** What some queries of one run attend to. */
export type AttentionRows = {
  /** Absolute positions of the queries. A token was chosen by the query at the position before its own. */
  queries: number[];
  layers: number;
  heads: number;
  /** Key positions; a query's keys behind its own are 0. */
  keys: number;
  /** hook_pattern of the decoder, [queries, layers, heads, keys]. */
  values: Float32Array;
  /** Segments of the prompt, and "suffix" for what was generated behind it. */
  segments: Segment[];
  /** Patches along each side of a picture. */
  grid: [rows: number, columns: number];
  /** Ids of the prompt and of what was generated. */
  tokens: number[];
  /** What was generated, with log-probabilities. */
  generated: { id: number; logProbability: number }[];
};

/** Whose attention is wanted. */
export type AttentionRequest = Pick<DecodingOptions, "maxNewTokens" | "signal"> & {
  /** Queries in the prompt. Default "last". */
  queries?: Positions | undefined;
  /** Generate the answer too, and show the query of each of its tokens. Default no. */
  generate?: boolean | undefined;
  edits?: readonly Intervention[] | undefined;
};

const ATTENTION_KINDS: OptionKinds<AttentionRequest> = {
  maxNewTokens: number,
  signal: abortSignal,
  queries: anything,
  generate: flag,
  edits: anything,
};

/**
 * The rows of every attention pattern of the decoder for some queries of the first batch row: 4 · layers · heads · keys
 * bytes each, and never whole patterns. Throws as `generateWithCache`.
 */
export async function attentionRows(
  model: PaliGemma,
  question: Question | ModelInputs,
  request: AttentionRequest = {},
): Promise<AttentionRows> {
  const checked = checkOptions("attentionRows", request, ATTENTION_KINDS);
  const { queries = "last", generate = false, maxNewTokens, edits, signal } = checked;
  const { numHiddenLayers: layers, numAttentionHeads: heads } = model.config.text;
  const positions = generate ? [queries, "generated"].flat() : queries;
  const capture = { hooks: PATTERNS, positions, device: "cpu" } as const;
  const options = generate
    ? model.oneAnswer({ maxNewTokens, edits, signal, numBeams: 1 })
    : { maxNewTokens: 1, edits, signal };
  return model.withInputs(question, async (inputs) => {
    const rows: QueryRows[] = [];
    const generated: AttentionRows["generated"] = [];
    for await (const { cache, token, logProbability } of decodeAndKeep(model.network, inputs, options, capture)) {
      rows.push(await rowsOf(cache, layers));
      cache.dispose();
      if (generate) generated.push({ id: token, logProbability });
    }
    const tokens = [...inputs.inputIds[0]!, ...generated.map(({ id }) => id)];
    const segments = [...promptPass(model.config, inputs).segments[0]!];
    if (generate) segments.push({ name: "suffix", start: inputs.inputIds[0]!.length, end: tokens.length });
    const side = patchGrid(model.config);
    const at = rows.flatMap((row) => row.queries);
    const keys = Math.max(0, ...rows.map((row) => row.keys));
    return {
      queries: at,
      layers,
      heads,
      keys,
      values: assemble(rows, layers * heads, keys),
      segments,
      grid: [side, side],
      tokens,
      generated,
    };
  });
}

const PATTERNS = "language.blocks.*.attn.hook_pattern";

/** The rows of one pass, [layers][heads, queries, keys]. */
type QueryRows = { queries: number[]; keys: number; layers: Float32Array[] };

async function rowsOf(cache: ActivationCache, layers: number): Promise<QueryRows> {
  if (cache.names.length === 0) return { queries: [], keys: 0, layers: [] };
  const name = (layer: number) => PATTERNS.replace("*", String(layer));
  const { positions, shape } = cache.describe(name(0));
  const values = Array.from({ length: layers }, (_, layer) => cache.values(name(layer)));
  return { queries: [...positions![0]!], keys: shape[3]!, layers: await Promise.all(values) };
}

// [queries, layers, heads, keys]; a later pass has more keys than an earlier one.
function assemble(rows: readonly QueryRows[], cells: number, keys: number): Float32Array {
  const count = rows.reduce((sum, row) => sum + row.queries.length, 0);
  const values = new Float32Array(count * cells * keys);
  let next = 0;
  for (const row of rows) {
    const [queries, heads] = [row.queries.length, cells / Math.max(1, row.layers.length)];
    row.layers.forEach((layer, l) => {
      for (let n = 0; n < heads; n++) {
        for (let q = 0; q < queries; q++) {
          const from = (n * queries + q) * row.keys;
          values.set(layer.subarray(from, from + row.keys), ((next + q) * cells + l * heads + n) * keys);
        }
      }
    });
    next += queries;
  }
  return values;
}

/**
 * The attention of one query, given by its index in `rows.queries`, on average over layers and heads (default all):
 * [keys]. Throws `InputError` for a query, layer or head that is not there.
 */
export function meanRow(
  rows: AttentionRows,
  query: number,
  over: { layers?: readonly number[] | undefined; heads?: readonly number[] | undefined } = {},
): Float32Array {
  const { layers, heads } = checkOptions("meanRow", over, { layers: list, heads: list });
  const [own, all] = [some("query", [query], rows.queries.length), (count: number) => Array.from(Array(count).keys())];
  const chosenLayers = some("layers", layers ?? all(rows.layers), rows.layers);
  const chosenHeads = some("heads", heads ?? all(rows.heads), rows.heads);
  const mean = new Float32Array(rows.keys);
  for (const layer of chosenLayers) {
    for (const head of chosenHeads) {
      const from = ((own[0]! * rows.layers + layer) * rows.heads + head) * rows.keys;
      for (let key = 0; key < rows.keys; key++) mean[key] += rows.values[from + key]!;
    }
  }
  return mean.map((sum) => sum / (chosenLayers.length * chosenHeads.length));
}

function some(what: string, indices: readonly number[], count: number): readonly number[] {
  if (indices.length === 0) throw new InputError(`${what}: expected indices in [0, ${count}), received none`);
  return checkIndices(what, indices, count);
}
