import type * as tf from "@tensorflow/tfjs";

/** Where a weight's numbers are: a variable of TensorFlow.js, or another weight. */
export interface WeightSource {
  read(): tf.Tensor;
}

/** A weight of a layer: its variable, or what stands in for it while an adapter brings another. */
export class Weight {
  private standIn: tf.Tensor | null = null;

  constructor(private readonly variable: WeightSource) {}

  /** What the layer computes with; not the caller's to dispose. */
  read(): tf.Tensor {
    return this.standIn ?? this.variable.read();
  }

  /** The variable, whatever stands in for it. */
  stored(): tf.Tensor {
    return this.variable.read();
  }

  /**
   * Puts a tensor of the same shape, which stays the caller's, in the variable's place; null: the variable itself
   * again.
   */
  replace(standIn: tf.Tensor | null): void {
    this.standIn = standIn;
  }
}
