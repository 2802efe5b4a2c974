import type { Tap } from "../../layers/tap.js";
import { decode } from "../decoding/decode.js";
import { compareLogits, type LogitComparison } from "../inspection/compare-logits.js";
import type { PaliGemmaModel } from "../model/model.js";
import { hf5, type Settings } from "../model/settings.js";
import { compare, type Difference, isConstant } from "./compare.js";
import { modelInputs, type Reference } from "./reference.js";

/**
 * The settings that parity is compared with: products that round nothing, as in the float32 runs that the references
 * are.
 */
export const EXACT: Settings = { ...hf5, products: "exact" };

/** The limit of every hook's scaled error in float32. */
export const TOLERANCE = 2e-5;

/** The hook that shows the logits as they are returned. */
const LOGITS = "language.unembed.hook_out";

/** One hook compared. `shape` is ours where it differs from the reference's. */
export type HookResult = Difference & { name: string; wrongShape: string | null; constant: boolean };

/** A model run against a reference: hooks in the order of computation, names that only one side has, greedy ids. */
export type ParityResult = {
  hooks: HookResult[];
  missing: string[];
  unknown: string[];
  logits: LogitComparison;
  greedy: number[][];
};

/** Of logits of another shape. */
const NOTHING_ALIKE: LogitComparison = { positions: 0, meanKl: Infinity, largestKl: Infinity, agreement: 0 };

/** Runs the reference's inputs through the model and compares every activation that the reference has as it fires. */
export function compareHooks(
  model: PaliGemmaModel,
  reference: Reference,
): Omit<ParityResult, "greedy" | "logits"> & { logits: Float32Array } {
  const inputs = modelInputs(reference);
  const hooks: HookResult[] = [];
  const unknown: string[] = [];
  try {
    const tap: Tap = (name, value) => {
      const expected = reference.taps.get(name);
      if (expected === undefined) unknown.push(name);
      else hooks.push(compareHook(name, value.shape, value.dataSync(), expected));
      return value;
    };
    const output = model.forward(inputs, { tap });
    const logits = output.dataSync<"float32">();
    output.dispose();
    const fired = new Set(hooks.map(({ name }) => name));
    const missing = [...reference.taps.keys()].filter((name) => !fired.has(name));
    return { hooks, unknown, missing, logits };
  } finally {
    inputs.pixelValues.dispose();
  }
}

/** Every activation, the logits and the greedy ids of one reference. */
export async function runParity(model: PaliGemmaModel, reference: Reference): Promise<ParityResult> {
  const { logits: ours, ...compared } = compareHooks(model, reference);
  const expected = reference.taps.get(LOGITS)!.values;
  const logits =
    ours.length === expected.length ? compareLogits(ours, expected, model.config.text.vocabSize) : NOTHING_ALIKE;
  return { ...compared, logits, greedy: await greedyIds(model, reference) };
}

function compareHook(
  name: string,
  shape: number[],
  values: ArrayLike<number>,
  expected: { shape: readonly number[]; values: ArrayLike<number> },
): HookResult {
  const same = JSON.stringify(shape) === JSON.stringify(expected.shape);
  const difference = same
    ? compare(values, expected.values)
    : { maxAbs: Infinity, peak: 0, scaled: Infinity, rmsRelative: Infinity, cosine: 0 };
  const wrongShape = same ? null : `[${shape}] against [${expected.shape}]`;
  return { name, ...difference, wrongShape, constant: isConstant(values) || isConstant(expected.values) };
}

/** Greedy ids of the reference's prompt with a cache, as many as it has. */
export async function greedyIds(
  model: PaliGemmaModel,
  reference: Reference,
  decodeWith: typeof decode = decode,
): Promise<number[][]> {
  const inputs = modelInputs(reference);
  const rows: number[][] = reference.greedy.map(() => []);
  // References of a prompt with a suffix continue behind the suffix; so does the decoder.
  const ended = rows.map(() => false);
  try {
    for await (const { tokens, finished } of decodeWith(model, inputs, { maxNewTokens: longest(reference.greedy) })) {
      tokens.forEach((id, row) => {
        if (!ended[row]) rows[row].push(id);
        ended[row] = finished[row] !== null;
      });
    }
  } finally {
    inputs.pixelValues.dispose();
  }
  return rows;
}

const longest = (rows: readonly number[][]): number => Math.max(...rows.map((row) => row.length));
