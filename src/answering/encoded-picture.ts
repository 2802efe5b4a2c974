import type * as tf from "@tensorflow/tfjs";

import { InputError } from "../base/errors.js";

/** What encodes pictures: a network, whose revision tells when its encodings become those of another model. */
export type PictureEncoder = { readonly pictureRevision: number };

/**
 * A picture after the vision tower and the projector, for several questions about it: they skip both. (Keys and values
 * of its rows cannot be shared: under the prefix mask the picture sees the question.) It owns its rows until `dispose`.
 */
export class EncodedPicture {
  private held: tf.Tensor | null;
  private readonly revision: number;

  constructor(
    /** Rows [1, P, D] as they enter the decoder; taken over. */
    rows: tf.Tensor,
    /** Of the picture before it was squashed, in pixels. */
    readonly size: { width: number; height: number },
    /** The network that made the rows. */
    private readonly maker: PictureEncoder,
  ) {
    this.held = rows;
    this.revision = maker.pictureRevision;
  }

  /** Rows [1, P, D], which stay this object's. Throws `InputError` once it is disposed. */
  get rows(): tf.Tensor {
    if (this.held) return this.held;
    throw new InputError("image: the encoded picture has been disposed; encode it again");
  }

  /** `rows`, where this network has made them, with the weights that it has now; else throws `InputError`. */
  rowsFor(network: PictureEncoder): tf.Tensor {
    if (network !== this.maker) {
      throw new InputError("image: it was encoded by another model; encode it with the one that is asked");
    }
    if (network.pictureRevision === this.revision) return this.rows;
    throw new InputError("image: it was encoded with other adapters than those active now; encode it again");
  }

  /** Frees the rows. */
  dispose(): void {
    this.held?.dispose();
    this.held = null;
  }
}
