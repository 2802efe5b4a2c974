import { decode } from "../src/generate.js";
import { alternating, type Samples } from "./measure.js";
import type { Subject } from "./subject.js";

/** How long does an answer of `tokens` tokens take, greedy, whatever they are? */
export async function decodeTimes({ model, inputs }: Subject, tokens: number, repetitions: number): Promise<Samples> {
  // Without an end-of-sequence id every run decodes the same number of tokens.
  const endless = Object.create(model.network, { config: { value: { ...model.config, eosTokenIds: [] } } });
  const generate = async () => {
    for await (const step of decode(endless, inputs, { maxNewTokens: tokens })) void step;
  };
  return (await alternating(repetitions, { generate })).generate;
}
