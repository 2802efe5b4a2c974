/** A token that could have come, and the log of its probability. */
export type LikelyToken = { token: number; logProbability: number };

/** log of the sum of exp over a row of logits [V], in nats. */
export function logSumExp(logits: Float32Array): number {
  let peak = -Infinity;
  for (const logit of logits) if (logit > peak) peak = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - peak);
  return peak + Math.log(sum);
}

/**
 * The k >= 1 largest of a row of scores [V] with their ids, largest first; of equal ones the lower id first. Leaves out
 * -Infinity.
 */
export function largest(scores: Float32Array, k: number): { id: number; score: number }[] {
  const best: { id: number; score: number }[] = [];
  scores.forEach((score, id) => {
    if (score === -Infinity || (best.length === k && score <= best[k - 1]!.score)) return;
    const place = best.findIndex((other) => score > other.score);
    best.splice(place === -1 ? best.length : place, 0, { id, score });
    if (best.length > k) best.pop();
  });
  return best;
}

/** The k likeliest tokens of a row of logits [V], likeliest first. */
export function likeliest(logits: Float32Array, k: number): LikelyToken[] {
  const total = logSumExp(logits);
  return largest(logits, k).map(({ id, score }) => ({ token: id, logProbability: score - total }));
}
