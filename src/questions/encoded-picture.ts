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
    /** `pictureRevision` of the model that made the rows. */
    private readonly revision = 0,
  ) {
    this.held = rows;
  }

  /** Rows [1, P, D], which stay this object's. Throws `InputError` once it is disposed. */
  get rows(): tf.Tensor {
    if (this.held) return this.held;
    throw new InputError("image: the encoded picture has been disposed; encode it again");
  }

  /** `rows`, where they were made by weights of this revision; else throws `InputError`. */
  rowsFor(revision: number): tf.Tensor {
    if (revision === this.revision) return this.rows;
    throw new InputError("image: it was encoded with other adapters than those active now; encode it again");
  }

  /** Frees the rows. */
  dispose(): void {
    this.held?.dispose();
    this.held = null;
  }
}
