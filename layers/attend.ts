import * as tf from "@tensorflow/tfjs";

import { batchMatMul } from "./matmul.js";
import { softcap } from "./softcap.js";
import { noTap, type Tap } from "./tap.js";

/** How scores are formed: (q·kᵀ)·scale, then the cap if there is one. */
export type ScoreScaling = { scale: number; softcap: number | null };

/**
 * softmax(softcap(q·kᵀ · scale) + mask) · v, where query head n reads key head floor(n / (N / K)).
 * `q` [B, T, N, H], `k` and `v` [B, S, K, H], `mask` [B, 1, T, S] of 0 and MASKED or null for all open -> [B, T, N, H].
 * Taps: hook_attn_scores and hook_pattern [B, N, T, S], hook_z [B, T, N, H]. The caller owns the result.
 */
export function attend(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor | null,
  scaling: ScoreScaling,
  tap: Tap = noTap,
): tf.Tensor {
  const [B, T, N, H] = q.shape;
  const [, S, K] = k.shape;
  const rows = (N / K) * T; // the query heads of one key head, stacked along T
  const headsFirst = (x: tf.Tensor) => x.transpose([0, 2, 1, 3]);
  return tf.tidy(() => {
    const dot = batchMatMul(headsFirst(q).reshape([B, K, rows, H]), headsFirst(k), true); // [B, K, rows, S]
    const capped = softcap(dot.mul(scaling.scale), scaling.softcap).reshape([B, N, T, S]);
    const scores = tap("hook_attn_scores", mask ? capped.add(mask) : capped);
    const pattern = tap("hook_pattern", scores.softmax());
    const z = batchMatMul(pattern.reshape([B, K, rows, S]), headsFirst(v)); // [B, K, rows, H]
    return tap("hook_z", headsFirst(z.reshape([B, N, T, H])));
  });
}
