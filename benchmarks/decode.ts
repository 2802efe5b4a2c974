import { decode } from "../src/decoding/decode.js";
import type { PaliGemmaModel } from "../src/model/model.js";
import type { PaliGemma } from "../src/paligemma.js";
import type { Samples } from "./measure.js";
import type { Subject } from "./demo-case.js";

/** The network without an end-of-sequence id, so that every run decodes the same number of tokens. */
export const endless = ({ network, config }: PaliGemma): PaliGemmaModel =>
  Object.create(network, { config: { value: { ...config, eosTokenIds: [] } } }) as PaliGemmaModel;

/**
 * How long does each token behind the first take, greedy, whatever the tokens are? One sample a run, after one for
 * warm-up.
 */
export async function tokenTimes({ model, inputs }: Subject, tokens: number, repetitions: number): Promise<Samples> {
  const run = async () => {
    let first = 0;
    for await (const step of decode(endless(model), inputs, { maxNewTokens: tokens })) {
      if (first === 0 && step.tokens.length > 0) first = performance.now();
    }
    return (performance.now() - first) / (tokens - 1);
  };
  await run();
  const samples: Samples = [];
  for (let i = 0; i < repetitions; i++) samples.push(await run());
  return samples;
}
