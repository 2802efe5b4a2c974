import assert from "node:assert/strict";

import { compareLogits } from "../../../src/inspection/compare-logits.js";

describe("comparison of logits", () => {
  it("is KL(reference ‖ ours) in nats of each row, and the part of the rows with the same best token", () => {
    // Rows of probabilities 1/2, 1/4, 1/4 against 1/4, 1/4, 1/2, each with a constant of its own that means nothing;
    // then equal ones.
    const [half, quarter] = [Math.log(2), Math.log(1)];
    const reference = [half, quarter, quarter, 7, 5, 6];
    const ours = [quarter + 3, quarter + 3, half + 3, 17, 15, 16];
    const { positions, meanKl, largestKl, agreement } = compareLogits(ours, reference, 3);
    const kl = 0.5 * Math.log(2) - 0.25 * Math.log(2);
    assert.deepEqual([positions, agreement], [2, 0.5]);
    assert.ok(Math.abs(largestKl - kl) < 1e-12 && Math.abs(meanKl - kl / 2) < 1e-12, `${largestKl}, ${meanKl}`);
  });

  it("is the other number the other way round", () => {
    const [a, b] = [
      [Math.log(8), 0, 0],
      [0, 0, 0],
    ];
    assert.ok(Math.abs(compareLogits(a, b, 3).meanKl - 0.5108256) < 1e-6, "KL of even chances ‖ 0.8, 0.1, 0.1");
    assert.ok(Math.abs(compareLogits(b, a, 3).meanKl - 0.4595798) < 1e-6, "KL of 0.8, 0.1, 0.1 ‖ even chances");
  });

  it("of unequal rows is refused", () => {
    assert.throws(() => compareLogits([1, 2], [1, 2, 3], 3), RangeError);
    assert.throws(() => compareLogits([1, 2], [1, 2], 3), RangeError);
  });
});
