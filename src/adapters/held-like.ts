import * as tf from "@tensorflow/tfjs";

import { heldDtype } from "../../layers/held.js";
import { fromFloat32 } from "../../weights/dtype.js";
import { STORED, weightHolder } from "../dtypes.js";

/** A tensor of the shape of `weight`, in the type and form that this is held in on the current backend; the caller owns it. */
export function heldLike(weight: tf.Tensor, values: Float32Array): tf.Tensor {
  const dtype = heldDtype(weight);
  if (dtype === null) return tf.keep(tf.tensor(values, weight.shape, "float32"));
  const holder = weightHolder(tf.getBackend(), dtype)!;
  try {
    return tf.keep(holder.held(fromFloat32(values, STORED[dtype]), STORED[dtype], weight.shape));
  } finally {
    holder.close();
  }
}
