/** Numbers in short: NaN and infinities are counted and left out of the rest, which is null where nothing is left. */
export type Statistics = {
  min: number | null;
  max: number | null;
  mean: number | null;
  /** Of all numbers, not of a sample of them: sqrt(mean((x - mean)²)). */
  std: number | null;
  nan: number;
  infinite: number;
};

/** Statistics of numbers that come in pieces, added up piece by piece about each piece's own mean. */
export class RunningStatistics {
  private count = 0;
  private mean = 0;
  /** Sum of (x - mean)². */
  private squares = 0;
  private min = Infinity;
  private max = -Infinity;
  private nan = 0;
  private infinite = 0;

  /**
   * Adds a piece. Source: Chan, Golub, LeVeque 1983, "Algorithms for computing the sample variance", equation 1.5:
   * exact too where the mean is far from 0.
   */
  add(values: Float32Array): void {
    let [count, sum] = [0, 0];
    for (const value of values) {
      if (Number.isFinite(value)) {
        [count, sum] = [count + 1, sum + value];
        if (value < this.min) this.min = value;
        if (value > this.max) this.max = value;
      } else if (Number.isNaN(value)) this.nan++;
      else this.infinite++;
    }
    if (count === 0) return;
    const mean = sum / count;
    let squares = 0;
    for (const value of values) if (Number.isFinite(value)) squares += (value - mean) ** 2;
    const all = this.count + count;
    const apart = mean - this.mean;
    this.squares += squares + (apart ** 2 * this.count * count) / all;
    this.mean += (apart * count) / all;
    this.count = all;
  }

  /** Of all that was added. */
  get result(): Statistics {
    const { nan, infinite, count, min, max, mean } = this;
    if (count === 0) return { min: null, max: null, mean: null, std: null, nan, infinite };
    return { min, max, mean, std: Math.sqrt(this.squares / count), nan, infinite };
  }
}
