/** How far one tensor is from its reference. `scaled` = max|a - b| / max(1, max|b|), the figure that is limited. */
export type Difference = { maxAbs: number; peak: number; scaled: number; rmsRelative: number; cosine: number };

/** Below this a score is that of a closed cell; implementations lower them by different constants. */
const CLOSED = -1e30;

/** Compares `ours` with `reference`, number by number. Closed cells must be closed on both sides and are left out. */
export function compare(ours: ArrayLike<number>, reference: ArrayLike<number>): Difference {
  if (ours.length !== reference.length) throw new Error(`${ours.length} numbers against ${reference.length}`);
  let [maxAbs, peak, squares, errors, dot, own] = [0, 0, 0, 0, 0, 0];
  for (let i = 0; i < ours.length; i++) {
    const [a, b] = [ours[i], reference[i]];
    if (a < CLOSED && b < CLOSED) continue;
    const error = Math.abs(a - b);
    // NaN compares false with everything: it must count as the largest error there is.
    maxAbs = error > maxAbs || Number.isNaN(error) ? error : maxAbs;
    if (Number.isNaN(maxAbs)) maxAbs = Infinity;
    peak = Math.max(peak, Math.abs(b));
    squares += b * b;
    errors += error * error;
    dot += a * b;
    own += a * a;
  }
  const scaled = maxAbs / Math.max(1, peak);
  return { maxAbs, peak, scaled, rmsRelative: Math.sqrt(errors / squares), cosine: dot / Math.sqrt(own * squares) };
}

/** Whether all numbers are one: a comparison of such tensors proves little. */
export const isConstant = (values: ArrayLike<number>): boolean => {
  for (let i = 1; i < values.length; i++) if (values[i] !== values[0]) return false;
  return values.length > 1;
};
