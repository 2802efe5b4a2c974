/** How two sets of logits [rows, V] differ as distributions: the largest KL(reference‖ours), and how often the top id agrees. */
export type LogitDifference = { worstKl: number; topAgreement: number };

/** Compares logits row by row; rows are of `vocabulary` numbers. */
export function compareLogits(
  ours: ArrayLike<number>,
  reference: ArrayLike<number>,
  vocabulary: number,
): LogitDifference {
  const rows = reference.length / vocabulary;
  let worstKl = 0;
  let agreeing = 0;
  for (let row = 0; row < rows; row++) {
    const [a, b] = [ours, reference].map((logits) => logSoftmax(logits, row * vocabulary, vocabulary));
    let kl = 0;
    for (let i = 0; i < vocabulary; i++) kl += Math.exp(b[i]) * (b[i] - a[i]);
    worstKl = Math.max(worstKl, kl);
    if (argMax(a) === argMax(b)) agreeing++;
  }
  return { worstKl, topAgreement: agreeing / rows };
}

function logSoftmax(logits: ArrayLike<number>, start: number, length: number): Float64Array {
  const row = Float64Array.from({ length }, (_, i) => logits[start + i]);
  const peak = row.reduce((a, b) => Math.max(a, b));
  const total = Math.log(row.reduce((sum, value) => sum + Math.exp(value - peak), 0)) + peak;
  return row.map((value) => value - total);
}

const argMax = (values: Float64Array): number =>
  values.reduce((best, value, i) => (value > values[best] ? i : best), 0);
