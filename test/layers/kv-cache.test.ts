import assert from "node:assert/strict";

import * as tf from "@tensorflow/tfjs";

import { attend, attendInPieces } from "../../layers/attend.js";
import { MASKED } from "../../layers/axes.js";
import { KVCache } from "../../layers/kv-cache.js";
import { leakFree, onEachBackend } from "../support/backends.js";

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, "float32", seed);

/** What a cache holds of its keys, without the room behind them. */
const held = (cache: KVCache, all: tf.Tensor) =>
  tf.tidy(() => all.slice([0, 0, 0, 0], [-1, cache.length, -1, -1]).dataSync());

onEachBackend("the key-value cache", () => {
  for (const capacity of [0, 3, 9]) {
    leakFree(`holds what was appended, in order, with room for ${capacity} at first`, () => {
      const cache = new KVCache({ capacity });
      const [B, K, H] = [2, 3, 4];
      const parts = [2, 1, 5, 140, 1].map((T, i) => [random([B, T, K, H], i), random([B, T, K, H], 50 + i)]);
      parts.forEach(([keys, values], i) => {
        const all = cache.append(keys, values);
        [0, 1].forEach((which) => {
          const expected = tf.tidy(() =>
            tf
              .concat(
                parts.slice(0, i + 1).map((part) => part[which]),
                1,
              )
              .dataSync(),
          );
          assert.deepEqual(held(cache, all[which]), expected);
        });
        tf.dispose(all);
      });
      assert.equal(cache.length, 149);
      const fewer = tf.tidy(() => parts[0][0].slice([0], [1]));
      assert.throws(() => cache.append(fewer, fewer), /holds \[2,149,3,4\]/);
      fewer.dispose();
      cache.reset();
      assert.equal(cache.length, 0);
      tf.dispose(parts);
    });
  }

  leakFree("a query reads no room behind the positions that were filled", () => {
    const cache = new KVCache({ capacity: 20 });
    const [keys, values, q] = [random([1, 5, 2, 8], 1), random([1, 5, 2, 8], 2), random([1, 3, 4, 8], 3)];
    const mask = tf.zeros([1, 1, 3, 5]);
    const [k, v] = cache.append(keys, values);
    const scaling = { scale: 0.3, softcap: 2 };
    const [z, expected] = [attend(q, k, v, mask, scaling), attend(q, keys, values, mask, scaling)];
    assert.deepEqual(z.dataSync(), expected.dataSync());
    cache.reset();
    tf.dispose([keys, values, q, mask, k, v, z, expected]);
  });
});

onEachBackend("attention in pieces of queries", () => {
  leakFree("is the same as all at once", () => {
    const [q, k, v] = [random([2, 11, 4, 6], 1), random([2, 9, 2, 6], 2), random([2, 9, 2, 6], 3)];
    const mask = tf.tidy(() => tf.randomUniform([2, 1, 11, 9], 0, 1, "float32", 4).less(0.3).toFloat().mul(MASKED));
    const scaling = { scale: 0.4, softcap: null };
    const whole = attend(q, k, v, mask, scaling);
    for (const rows of [1, 4, 11]) {
      const pieces = attendInPieces(q, k, v, mask, scaling, { rows });
      const apart = tf.tidy(() => pieces.sub(whole).abs().max().dataSync()[0]);
      assert.ok(apart < 1e-6, `${rows} rows at a time: ${apart}`);
      pieces.dispose();
    }
    tf.dispose([q, k, v, mask, whole]);
  });
});
