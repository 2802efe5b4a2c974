import { WeightsError } from "../errors.js";

/**
 * Milliseconds that all expressions and lists of an adapter may take together: some expressions take for ever on some
 * names.
 */
const MAX_TIME = 5000;

/**
 * The time that what an adapter's config names may take to find among a model's modules, in all its fields and
 * spellings together.
 */
export class MatchBudget {
  private spent = 0;

  constructor(private readonly milliseconds = MAX_TIME) {}

  /**
   * Does `work` within what is left, which it is told; `where` is what errors call it. Throws `WeightsError` once
   * nothing is left.
   */
  spend<Result>(where: string, work: (left: number) => Result): Result {
    this.require(where);
    const start = performance.now();
    try {
      return work(Math.max(1, Math.ceil(this.milliseconds - this.spent)));
    } finally {
      this.spent += performance.now() - start;
      this.require(where);
    }
  }

  /** The error of what takes longer. */
  exceeded(where: string): WeightsError {
    return new WeightsError(
      `${where}: its names and regular expressions take more than ${this.milliseconds / 1000} seconds to match`,
    );
  }

  private require(where: string): void {
    if (this.spent >= this.milliseconds) throw this.exceeded(where);
  }
}
