import * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";

/** The tensors of a sparse autoencoder of D wide activations and M features. */
export type SaeWeights = {
  /** [D, M] */
  wEnc: tf.Tensor2D;
  /** [M, D] */
  wDec: tf.Tensor2D;
  /** [M] */
  bEnc: tf.Tensor1D;
  /** [D] */
  bDec: tf.Tensor1D;
  /** [M] */
  threshold: tf.Tensor1D;
};

/**
 * A JumpReLU sparse autoencoder: pre = x·w_enc + b_enc; acts = relu(pre) where pre > threshold, else 0; x̂ = acts·w_dec
 * + b_dec. The decoder's bias is not taken off the input. It owns its tensors until `dispose`. Source: Gemma Scope
 * (arXiv 2408.05147), section 2.2, in the form of its tutorial.
 */
export class JumpReluSae {
  /** D, the width of what it encodes. */
  readonly width: number;
  /** M, the number of its features. */
  readonly features: number;

  /** `name` is what errors call it; the tensors become its own, and their shapes are the caller's to check. */
  constructor(
    readonly name: string,
    readonly weights: SaeWeights,
  ) {
    [this.width, this.features] = weights.wEnc.shape;
  }

  /**
   * The features' activations: `x` [..., D] -> [..., M]. The caller owns the result. Throws `InputError` for another
   * width.
   */
  encode(x: tf.Tensor): tf.Tensor {
    const { wEnc, bEnc, threshold } = this.weights;
    return tf.tidy(() => {
      const pre = tf.matMul(this.rows(x, this.width, "encodes"), wEnc).add(bEnc); // [rows, M]
      const acts = tf.where(pre.greater(threshold), pre.relu(), tf.zerosLike(pre));
      return acts.reshape([...x.shape.slice(0, -1), this.features]);
    });
  }

  /**
   * What the features stand for: `acts` [..., M] -> [..., D]. The caller owns the result. Throws `InputError` for
   * another width.
   */
  decode(acts: tf.Tensor): tf.Tensor {
    const { wDec, bDec } = this.weights;
    return tf.tidy(() => {
      const sum = tf.matMul(this.rows(acts, this.features, "decodes"), wDec).add(bDec); // [rows, D]
      return sum.reshape([...acts.shape.slice(0, -1), this.width]);
    });
  }

  /** Frees its tensors. */
  dispose(): void {
    for (const tensor of Object.values(this.weights)) tensor.dispose();
  }

  private rows(x: tf.Tensor, width: number, does: string): tf.Tensor2D {
    if (x.shape.at(-1) === width) return x.reshape([x.size / width, width]);
    throw new InputError(`${this.name} ${does} [..., ${width}], received [${x.shape.join(", ")}]`);
  }
}
