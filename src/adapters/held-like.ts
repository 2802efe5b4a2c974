import * as tf from "@tensorflow/tfjs";

import { heldDtype } from "../../layers/stored.js";
import { fromFloat32 } from "../../weights/dtype.js";
import { holdsSixteenBit, isPackedForm, STORED, weightHolder } from "../backends/dtypes.js";

/**
 * A tensor of the shape of `weight`, in the type and form that this is held in on the current backend; the caller owns
 * it. In the place of a packed weight it is bfloat16, or float32 where the backend has none: an adapter's numbers are
 * not packed.
 */
export function heldLike(weight: tf.Tensor, values: Float32Array): tf.Tensor {
  const held = heldDtype(weight);
  const unpacked = holdsSixteenBit(tf.getBackend()) ? "bfloat16" : null;
  const dtype = held !== null && isPackedForm(held) ? unpacked : held;
  if (dtype === null) return tf.keep(tf.tensor(values, weight.shape, "float32"));
  const holder = weightHolder(tf.getBackend(), dtype);
  try {
    return tf.keep(holder.held(fromFloat32(values, STORED[dtype]), STORED[dtype], weight.shape));
  } finally {
    holder.close();
  }
}
