import * as tf from "@tensorflow/tfjs";

import { listens, noTap, type Tap, tapAt } from "../layers/tap.js";
import { hookCatalogue } from "../src/model/hook-catalogue.js";
import { alternating, type Samples } from "./measure.js";
import type { Subject } from "./demo-case.js";

/**
 * What does one forward pass cost up to the first token, with hooks off and with a listener at every hook that changes
 * nothing? The difference is all that hooks can cost a run that does not use them, and more.
 */
export async function forwardTimes(
  { model, inputs }: Subject,
  repetitions: number,
): Promise<{ off: Samples; on: Samples }> {
  const forward = async (tap: Tap) => {
    const logits = model.network.forward(inputs, { tap, rows: "last" });
    await logits.data();
    logits.dispose();
  };
  return alternating(repetitions, { off: () => forward(noTap), on: () => forward((_name, value) => value) });
}

const ROUNDS = 200_000;

/**
 * Milliseconds that a run without hooks spends at the places where listeners could stand: at each of them the path of a
 * tap is made, the question whether anybody listens is asked, and the activation is handed through.
 */
export function unusedPlacesTime({ model }: Subject, repetitions: number): Samples {
  const names = hookCatalogue(model.config).map(({ name }) => name);
  const value = tf.scalar(0);
  const samples = Array.from({ length: repetitions }, () => {
    let passed = 0;
    const start = performance.now();
    for (let i = 0; i < ROUNDS; i++) {
      const name = names[i % names.length];
      const tap = tapAt(noTap, name);
      if (!listens(tap, name) && tap(name, value) === value) passed++;
    }
    const elapsed = performance.now() - start;
    if (passed !== ROUNDS) throw new Error("hooks-off: somebody listens");
    return (elapsed / ROUNDS) * names.length;
  });
  value.dispose();
  return samples;
}
