/** How two sets of logits differ as distributions over the next token. */
export type LogitComparison = {
  positions: number;
  /** KL(reference ‖ ours) of a position in nats, on average and at the most. */
  meanKl: number;
  largestKl: number;
  /** At which part of the positions both have the same likeliest token. */
  agreement: number;
};

/**
 * Compares logits [positions, V] row by row in double precision: what rounding, packing or an edit does to the answers.
 * Throws `RangeError` unless both are whole rows and equally many.
 */
export function compareLogits(
  ours: ArrayLike<number>,
  reference: ArrayLike<number>,
  vocabSize: number,
): LogitComparison {
  const positions = reference.length / vocabSize;
  if (ours.length !== reference.length || !Number.isInteger(positions)) {
    throw new RangeError(
      `logits: expected as many rows of ${vocabSize} on both sides, received ${ours.length} and ${reference.length} numbers`,
    );
  }
  let [sum, largestKl, agreeing] = [0, 0, 0];
  for (let row = 0; row < positions; row++) {
    const [a, b] = [ours, reference].map((logits) => logSoftmax(logits, row * vocabSize, vocabSize));
    let kl = 0;
    for (let i = 0; i < vocabSize; i++) kl += Math.exp(b[i]) * (b[i] - a[i]);
    sum += kl;
    largestKl = Math.max(largestKl, kl);
    if (argMax(a) === argMax(b)) agreeing++;
  }
  return { positions, meanKl: sum / positions, largestKl, agreement: agreeing / positions };
}

function logSoftmax(logits: ArrayLike<number>, start: number, length: number): Float64Array {
  const row = Float64Array.from({ length }, (_, i) => logits[start + i]);
  const peak = row.reduce((a, b) => Math.max(a, b));
  const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value - peak), 0)) + peak;
  return row.map((value) => value - total);
}

const argMax = (values: Float64Array): number =>
  values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
