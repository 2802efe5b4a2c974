import type * as tf from "@tensorflow/tfjs";

import { InputError } from "../errors.js";

/**
 * A picture after the vision tower and the projector, for several questions about it: they skip both. (Keys and values of its rows
 * cannot be shared: under the prefix mask the picture sees the question.) It owns its rows until `dispose`.
 */
export class EncodedPicture {
  private held: tf.Tensor | null;

  constructor(
    /** Rows [1, P, D] as they enter the decoder; taken over. */
    rows: tf.Tensor,
    /** Of the picture before it was squashed, in pixels. */
    readonly size: { width: number; height: number },
  ) {
    this.held = rows;
  }

  /** Rows [1, P, D], which stay this object's. Throws `InputError` once it is disposed. */
  get rows(): tf.Tensor {
    if (this.held) return this.held;
    throw new InputError("image: the encoded picture has been disposed; encode it again");
  }

  /** Frees the rows. */
  dispose(): void {
    this.held?.dispose();
    this.held = null;
  }
}
