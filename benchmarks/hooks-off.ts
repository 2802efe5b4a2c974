import { noTap, type Tap } from "../layers/tap.js";
import { alternating, type Samples } from "./measure.js";
import type { Subject } from "./subject.js";

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
