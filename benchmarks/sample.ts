import { useBackend } from "../src/backends/backend.js";
import type { DtypeChoice } from "../src/backends/dtypes.js";
import { decode } from "../src/decoding/decode.js";
import type { ModelInputs } from "../src/model/inputs.js";
import { PaliGemma } from "../src/paligemma.js";
import { endless } from "./decode.js";
import { longestGap } from "./event-loop.js";
import { readInputs } from "./inputs.js";
import { resident, type Resident } from "./memory.js";

/** What one process is to measure. */
export type SampleRequest = {
  /** The checkpoint's folder, and the folder of the inputs. */
  model: string;
  inputs: string;
  /** What the matrices are held in; default as stored. */
  hold?: DtypeChoice;
  /** How many tokens each answer has. The same question is answered each time, so the first answer may be a warm-up. */
  answers: number[];
};

/**
 * One answer: seconds to the first token, seconds for each further one on average (null without any), and the ids; of
 * this side, the longest gap of the event loop in seconds.
 */
export type AnswerSample = { first: number; further: number | null; tokens: number[]; gap?: number };

/** What one process saw: times in seconds, `readyAt` in seconds since 1970. */
export type Sample = {
  /** When everything was imported and started, just before loading. */
  readyAt: number;
  load: number;
  /** The longest gap of the event loop while loading, in seconds; transformers has none to hold up. */
  loadGap?: number;
  /** The type that was computed in. */
  computed: string;
  answers: AnswerSample[];
  /** Memory after loading, and at the end. */
  loaded: Resident;
  ended: Resident;
  /** Processor time of the process, all threads together. */
  processorTime: number;
};

/** Loads a checkpoint on the tensorflow backend, answers, and says how long each step took. */
export async function takeSample({ model: folder, inputs, hold, answers: counts }: SampleRequest): Promise<Sample> {
  await useBackend("tensorflow");
  const readyAt = Date.now() / 1000;
  const start = performance.now();
  const { result: model, gap: loadGap } = await longestGap(() =>
    PaliGemma.load(folder, { backend: "tensorflow", dtype: hold ?? "auto" }),
  );
  const load = (performance.now() - start) / 1000;
  const loaded = resident();
  const question = await readInputs(inputs);
  const answers: AnswerSample[] = [];
  for (const count of counts) {
    const { result, gap } = await longestGap(() => answer(model, question, count));
    answers.push({ ...result, gap });
  }
  const { user, system } = process.cpuUsage();
  const processorTime = (user + system) / 1e6;
  return { readyAt, load, loadGap, computed: model.dtype, answers, loaded, ended: resident(), processorTime };
}

/** Decodes `count` tokens, greedy, whatever they are. */
async function answer(model: PaliGemma, inputs: ModelInputs, count: number): Promise<AnswerSample> {
  const times: number[] = [];
  const tokens: number[] = [];
  const start = performance.now();
  for await (const step of decode(endless(model), inputs, { maxNewTokens: count })) {
    times.push((performance.now() - start) / 1000);
    tokens.push(step.tokens[0]);
  }
  return { first: times[0], further: count > 1 ? (times[count - 1] - times[0]) / (count - 1) : null, tokens };
}
