import { strict as assert } from "node:assert";

import * as tf from "@tensorflow/tfjs";

import { interleave } from "../../layers/interleave.js";
import { leakFree, onEachBackend } from "../support/backends.js";

const [T, F] = [true, false];

onEachBackend("interleave", () => {
  it("takes the rows of both tables in their order, wherever each is due", () => {
    tf.tidy(() => {
      const [first, second] = [tf.randomNormal([2, 3, 5]), tf.randomNormal([1, 4, 5])];
      const a = first.reshape([6, 5]).arraySync() as number[][];
      const b = second.reshape([4, 5]).arraySync() as number[][];
      const due = [
        [T, T, F, T, F],
        [F, T, T, F, T],
      ];
      const rows = interleave(first, second, due);
      assert.deepEqual(rows.shape, [2, 5, 5]);
      assert.deepEqual(rows.arraySync(), [
        [a[0], a[1], b[0], a[2], b[1]],
        [b[2], a[3], a[4], b[3], a[5]],
      ]);
    });
  });

  it("passes gradients to the rows that it took", () => {
    tf.tidy(() => {
      const [first, second, weights] = [tf.randomNormal([2, 3]), tf.randomNormal([1, 3]), tf.randomNormal([1, 3, 3])];
      const loss = (x: tf.Tensor, y: tf.Tensor) =>
        interleave(x, y, [[T, F, T]])
          .mul(weights)
          .sum() as tf.Scalar;
      const [dx, dy] = tf.grads(loss as (...args: tf.Tensor[]) => tf.Tensor)([first, second]);
      const [w] = weights.arraySync() as number[][][];
      assert.deepEqual(dx.arraySync(), [w[0], w[2]]);
      assert.deepEqual(dy.arraySync(), [w[1]]);
    });
  });

  leakFree("keeps only what it returns", () => {
    const tables = [tf.zeros([2, 3]), tf.zeros([1, 3])];
    interleave(tables[0], tables[1], [[T, F, T]]).dispose();
    tf.dispose(tables);
  });
});
