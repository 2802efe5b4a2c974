import { WeightsError } from "../../weights/errors.js";

/** Whose logits they are: the prompt's place in its batch and the token's in the answer, from 0. */
export type LogitsPlace = { prompt: number; token: number };

/**
 * Throws `WeightsError` that says at which token, and how to look for the cause, where the largest logit of a row is
 * not finite or one of them is not a number: a token chosen among them would say nothing. Single tokens may be at
 * -Infinity.
 */
export function requireFiniteLogits(logits: Float32Array, { prompt, token }: LogitsPlace): void {
  const largest = largestOf(logits);
  if (Number.isFinite(largest)) return;
  throw notFinite(
    `logits: expected finite numbers at token ${token + 1} of the answer to prompt ${prompt + 1}`,
    largest,
  );
}

/** An error about a number that is not finite, where a forward pass must have given a finite one. */
export const notFinite = (what: string, received: number): WeightsError =>
  new WeightsError(
    `${what}, received ${received}; a weight, an adapter or an edit is at fault: look for it among the weights with the command ` +
      '`info --tensors "**"`, and for the first activation that has it with runWithCache or the command `inspect`',
  );

function largestOf(logits: Float32Array): number {
  let largest = -Infinity;
  for (const logit of logits) {
    if (Number.isNaN(logit)) return NaN;
    if (logit > largest) largest = logit;
  }
  return largest;
}
