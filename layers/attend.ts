import * as tf from "@tensorflow/tfjs";

import { runKernel } from "./kernel.js";
import { batchMatMul } from "./matmul.js";
import { softcap } from "./softcap.js";
import { listens, noTap, type Tap } from "./tap.js";

/** How scores are formed: (q·kᵀ)·scale, then the cap if there is one. */
export type ScoreScaling = { scale: number; softcap: number | null };

/** Bytes of scores that may exist at once unless somebody listens to them. */
const MAX_SCORES = 256 * 2 ** 20;

/**
 * softmax(softcap(q·kᵀ · scale) + mask) · v, where query head n reads key head floor(n / (N / K)). `q` [B, T, N, H],
 * `k` and `v` [B, C, K, H] of which the first S positions count, `mask` [B, 1, T, S] of 0 and MASKED, or null where all
 * C are open -> [B, T, N, H]. Taps: hook_attn_scores and hook_pattern [B, N, T, S], hook_z [B, T, N, H]. Scores and
 * pattern are formed whole only for a listener; else in pieces of queries. The caller owns the result.
 */
export function attend(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor | null,
  scaling: ScoreScaling,
  tap: Tap = noTap,
): tf.Tensor {
  const whole = listens(tap, "hook_attn_scores", "hook_pattern");
  const z = whole ? null : attendedAtOnce(q, k, v, mask, scaling);
  if (z) return tap("hook_z", z);
  return tf.tidy(() => {
    const S = mask ? mask.shape[3]! : k.shape[1]!;
    const counted = (x: tf.Tensor) => (x.shape[1] === S ? x : x.slice([0, 0, 0, 0], [-1, S, -1, -1]));
    const [B, T, N] = q.shape as [number, number, number];
    const rows = whole ? T : Math.max(1, Math.floor(MAX_SCORES / (4 * B * N * S)));
    return tap("hook_z", attendInPieces(q, counted(k), counted(v), mask, scaling, { rows, tap }));
  });
}

/**
 * `attend` with all of k and v counting, `rows` queries at a time, without `hook_z`; the tap sees the scores of each
 * piece.
 */
export function attendInPieces(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor | null,
  scaling: ScoreScaling,
  { rows, tap = noTap }: { rows: number; tap?: Tap },
): tf.Tensor {
  const T = q.shape[1]!;
  if (rows >= T) return attendWhole(q, k, v, mask, scaling, tap);
  return tf.tidy(() => {
    const pieces: tf.Tensor[] = [];
    for (let from = 0; from < T; from += rows) {
      const count = Math.min(rows, T - from);
      const open = mask && mask.slice([0, 0, from, 0], [-1, -1, count, -1]);
      pieces.push(attendWhole(q.slice([0, from, 0, 0], [-1, count, -1, -1]), k, v, open, scaling, tap));
    }
    return tf.concat(pieces, 1);
  });
}

/** What kernels are told of the scaling: a cap of 0 is none. */
const attributesOf = ({ scale, softcap }: ScoreScaling) => ({ scale, softcap: softcap ?? 0 });

// Each kernel that takes a mask has a twin without one, where everything is open.
const attendedAtOnce = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, mask: tf.Tensor | null, scaling: ScoreScaling) =>
  mask === null
    ? runKernel("PaligemmaAttendOpen", { q, k, v }, attributesOf(scaling))
    : runKernel("PaligemmaAttend", { q, k, v, mask }, attributesOf(scaling));

const scoresAtOnce = (q: tf.Tensor, k: tf.Tensor, mask: tf.Tensor | null, scaling: ScoreScaling) =>
  mask === null
    ? runKernel("PaligemmaScoresOpen", { q, k }, attributesOf(scaling))
    : runKernel("PaligemmaScores", { q, k, mask }, attributesOf(scaling));

// k and v [B, S, K, H]; every score at once.
function attendWhole(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor | null,
  scaling: ScoreScaling,
  tap: Tap,
): tf.Tensor {
  const [B, T, N, H] = q.shape as [number, number, number, number];
  const [, S, K] = k.shape as [number, number, number];
  const rows = (N / K) * T; // the query heads of one key head, stacked along T
  const headsFirst = (x: tf.Tensor) => x.transpose([0, 2, 1, 3]);
  const plainScores = () => {
    const dot = batchMatMul(headsFirst(q).reshape([B, K, rows, H]), headsFirst(k), true); // [B, K, rows, S]
    const capped = softcap(dot.mul(scaling.scale), scaling.softcap).reshape([B, N, T, S]);
    return mask ? capped.add(mask) : capped;
  };
  const plainMix = (pattern: tf.Tensor) => {
    const z = batchMatMul(pattern.reshape([B, K, rows, S]), headsFirst(v)); // [B, K, rows, H]
    return headsFirst(z.reshape([B, N, T, H]));
  };
  return tf.tidy(() => {
    const scores = tap("hook_attn_scores", scoresAtOnce(q, k, mask, scaling) ?? plainScores());
    const pattern = tap("hook_pattern", runKernel("PaligemmaSoftmax", { x: scores }) ?? scores.softmax());
    return runKernel("PaligemmaMix", { pattern, v }) ?? plainMix(pattern);
  });
}
