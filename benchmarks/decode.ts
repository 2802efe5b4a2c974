import { decode } from "../src/generate.js";
import type { Samples } from "./measure.js";
import type { Subject } from "./subject.js";

/** How long does each token behind the first take, greedy, whatever the tokens are? One sample a run, after one for warm-up. */
export async function tokenTimes({ model, inputs }: Subject, tokens: number, repetitions: number): Promise<Samples> {
  // Without an end-of-sequence id every run decodes the same number of tokens.
  const endless = Object.create(model.network, { config: { value: { ...model.config, eosTokenIds: [] } } });
  const run = async () => {
    let first = 0;
    for await (const step of decode(endless, inputs, { maxNewTokens: tokens })) {
      if (first === 0 && step.tokens.length > 0) first = performance.now();
    }
    return (performance.now() - first) / (tokens - 1);
  };
  await run();
  const samples: Samples = [];
  for (let i = 0; i < repetitions; i++) samples.push(await run());
  return samples;
}
