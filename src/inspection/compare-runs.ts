import type { StoredTensor } from "./stored-run.js";

/** How one activation of two runs compares, number by number. */
export type TensorDifference = {
  name: string;
  kind: "compared";
  shape: readonly number[];
  /** max|a - b| */
  maxAbs: number;
  /** max|a - b| / max(1, max|b|) */
  relative: number;
  /** mean|a - b| */
  meanAbs: number;
  /** a·b / (|a||b|): 1 for two of zeros, 0 where one of them is. */
  cosine: number;
  /**
   * Numbers that cannot be told how far they are apart: a closed cell of attention scores against an open one, NaN or
   * an infinity against something else. They count in no other figure, nor do cells that are closed on both sides.
   */
  apart: number;
};

/** An activation that one run lacks, or has in another shape. */
export type Unmatched =
  | { name: string; kind: "shapes"; shape: readonly number[]; other: readonly number[] }
  | { name: string; kind: "only in a" | "only in b"; shape: readonly number[] };

/** What two runs have under one name. */
export type RunDifference = TensorDifference | Unmatched;

/** Below this a score is that of a closed cell; implementations lower them by different constants. */
const CLOSED = -1e30;

/**
 * Compares two runs by name, in the order of `a`, then what only `b` has. Differences are formed in double precision.
 * Names on one side only and unequal shapes are entries of their own; nothing is thrown.
 */
export function compareRuns(
  a: ReadonlyMap<string, StoredTensor>,
  b: ReadonlyMap<string, StoredTensor>,
): RunDifference[] {
  const ofA = [...a].map(([name, { shape, data }]): RunDifference => {
    const other = b.get(name);
    if (other === undefined) return { name, kind: "only in a", shape };
    const equal = other.shape.join() === shape.join() && other.data.length === data.length;
    if (!equal) return { name, kind: "shapes", shape, other: other.shape };
    return { name, kind: "compared", shape, ...compareNumbers(data, other.data) };
  });
  const rest = [...b].filter(([name]) => !a.has(name));
  return [...ofA, ...rest.map(([name, { shape }]): RunDifference => ({ name, kind: "only in b", shape }))];
}

function compareNumbers(a: Float32Array, b: Float32Array): Omit<TensorDifference, "name" | "kind" | "shape"> {
  let [maxAbs, peak, sum, dot, squaresA, squaresB, apart, count] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i], b[i]];
    if (!isOpen(x) || !isOpen(y)) {
      if (!isAlike(x, y)) apart++;
      continue;
    }
    const error = Math.abs(x - y);
    maxAbs = Math.max(maxAbs, error);
    peak = Math.max(peak, Math.abs(y));
    sum += error;
    dot += x * y;
    squaresA += x * x;
    squaresB += y * y;
    count++;
  }
  const meanAbs = count === 0 ? 0 : sum / count;
  const cosine = squaresA === 0 && squaresB === 0 ? 1 : dot / (Math.sqrt(squaresA * squaresB) || 1);
  return { maxAbs, relative: maxAbs / Math.max(1, peak), meanAbs, cosine, apart };
}

/** A finite number that is no closed cell's. */
const isOpen = (value: number): boolean => Number.isFinite(value) && value >= CLOSED;
/** The same special value, or two closed cells. */
const isAlike = (x: number, y: number): boolean => Object.is(x, y) || (x < CLOSED && y < CLOSED);

/**
 * The comparison with the largest relative difference, numbers that are apart before all; null where nothing was
 * compared.
 */
export function worstOf(differences: readonly RunDifference[]): TensorDifference | null {
  const compared = differences.filter((one) => one.kind === "compared");
  return compared.reduce<TensorDifference | null>((worst, one) => (isWorse(one, worst) ? one : worst), null);
}

function isWorse(one: TensorDifference, than: TensorDifference | null): boolean {
  if (than === null) return true;
  return one.apart === than.apart ? one.relative > than.relative : one.apart > than.apart;
}

/**
 * Whether two runs differ in an activation by more than `limit` (relative), or it cannot be said by how much. A name on
 * one side is no difference.
 */
export function exceeds(difference: RunDifference, limit: number): boolean {
  if (difference.kind === "compared") return difference.apart > 0 || difference.relative > limit;
  return difference.kind === "shapes";
}
