import { readInputs } from "./inputs.js";
import type { ModelInputs } from "../src/inputs.js";
import { useBackend } from "../src/backend.js";
import { decode } from "../src/generate.js";
import { PaliGemma } from "../src/paligemma.js";
import { endless } from "./decode.js";
import { resident, type Resident } from "./memory.js";

/** What one process is to measure. */
export type SampleRequest = {
  /** The checkpoint's folder, and the folder of the inputs. */
  model: string;
  inputs: string;
  /** How many further tokens are timed. */
  newTokens: number;
  /** Only load and answer with one token. */
  cold: boolean;
};

/** What one process saw: times in seconds, `readyAt` in seconds since 1970, and the ids. */
export type Sample = Resident & {
  /** When everything was imported and started, just before loading. */
  readyAt: number;
  load: number;
  /** The type that was computed in. */
  computed: string;
  /** To the first token of the first answer of the process, and of the second. */
  firstCall: number;
  first: number | null;
  /** Each token after the first. */
  further: number | null;
  tokens: number[];
};

/** Loads a checkpoint on the tensorflow backend, answers, and says how long each step took. */
export async function takeSample({ model: folder, inputs, newTokens, cold }: SampleRequest): Promise<Sample> {
  await useBackend("tensorflow");
  const readyAt = Date.now() / 1000;
  const start = performance.now();
  const model = await PaliGemma.load(folder, { backend: "tensorflow", dtype: "auto" });
  const load = (performance.now() - start) / 1000;
  const question = await readInputs(inputs);
  const early = await answer(model, question, cold ? 1 : 2);
  const result = { readyAt, load, computed: model.dtype, firstCall: early.first };
  if (cold) return { ...result, first: null, further: null, tokens: early.tokens, ...resident() };
  return { ...result, ...(await answer(model, question, 1 + newTokens)), ...resident() };
}

/** Seconds to the first token, seconds for each further one on average, and the ids; greedy, whatever the tokens are. */
async function answer(
  model: PaliGemma,
  inputs: ModelInputs,
  count: number,
): Promise<{ first: number; further: number; tokens: number[] }> {
  const times: number[] = [];
  const tokens: number[] = [];
  const start = performance.now();
  for await (const step of decode(endless(model), inputs, { maxNewTokens: count })) {
    times.push((performance.now() - start) / 1000);
    tokens.push(step.tokens[0]);
  }
  return { first: times[0], further: (times.at(-1)! - times[0]) / (count - 1), tokens };
}
