import * as tf from "@tensorflow/tfjs";

import { CheckpointLayer, type CheckpointLayerArgs } from "./checkpoint-layer.js";
import { runKernel } from "./kernel.js";

/** Turns the pair (i, i + H/2) of each head by its angle. `x` [B, T, N, H]; `cos`, `sin` [B, T, H] -> [B, T, N, H]. */
export function applyRope(x: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor {
  const turned = runKernel("PaligemmaRope", { x, cos, sin });
  if (turned) return turned;
  return tf.tidy(() => {
    const [low, high] = tf.split(x, 2, -1) as [tf.Tensor, tf.Tensor];
    return x.mul(cos.expandDims(2)).add(tf.concat([high.neg(), low], -1).mul(sin.expandDims(2)));
  });
}

/**
 * theta^(-2i/H), i < H/2, rounded to float32 at each step as the reference rounds.
 * Source: huggingface/transformers, models/gemma/modeling_gemma.py (GemmaRotaryEmbedding); arXiv 2104.09864.
 */
export function rotaryFrequencies(headDim: number, theta: number): number[] {
  const { fround } = Math;
  return Array.from({ length: headDim / 2 }, (_, i) => fround(1 / fround(theta ** fround((2 * i) / headDim))));
}

/**
 * The tables of `positions` (B rows of T): angle = position · theta^(-2i/H), i < H/2, repeated for both halves.
 * cos and sin [B, T, H], owned by the caller.
 *
 * The angle is rounded to float32 before cos and sin, as the reference does: near position 8000 an exact angle would
 * differ from it by 4e-4. The tables are made here and not by tensor ops, so that every backend has the same ones.
 */
export function ropeTables(
  positions: readonly (readonly number[])[],
  headDim: number,
  theta: number,
): { cos: tf.Tensor; sin: tf.Tensor } {
  const half = headDim / 2;
  const frequencies = rotaryFrequencies(headDim, theta);
  const rows = positions.flat();
  const cos = new Float32Array(rows.length * headDim);
  const sin = new Float32Array(rows.length * headDim);
  rows.forEach((position, row) => {
    for (let i = 0, at = row * headDim; i < half; i++, at++) {
      const angle = Math.fround(position * frequencies[i]!);
      cos[at] = cos[at + half] = Math.cos(angle);
      sin[at] = sin[at + half] = Math.sin(angle);
    }
  });
  const shape = [positions.length, positions[0]!.length, headDim];
  return { cos: tf.tensor(cos, shape), sin: tf.tensor(sin, shape) };
}

/**
 * Rotary positions as a layer. Inputs `x` [B, T, N, H] and `positions` [B, T] (integers, counted from anywhere: the
 * rotation is relative) -> [B, T, N, H]. No weights. `positions` is read back to build the tables.
 */
export class RotaryEmbedding extends CheckpointLayer {
  static readonly className = "RotaryEmbedding";
  private readonly headDim: number;
  private readonly ropeTheta: number;

  constructor(args: CheckpointLayerArgs & { headDim: number; ropeTheta: number }) {
    const { headDim, ropeTheta, ...rest } = args;
    super(rest);
    this.headDim = headDim;
    this.ropeTheta = ropeTheta;
  }
  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    const [x, positions] = inputs as [tf.Tensor, tf.Tensor];
    return tf.tidy(() => {
      const { cos, sin } = ropeTables(positions.arraySync() as number[][], this.headDim, this.ropeTheta);
      return applyRope(x, cos, sin);
    });
  }
  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), headDim: this.headDim, ropeTheta: this.ropeTheta };
  }
}
tf.serialization.registerClass(RotaryEmbedding);
