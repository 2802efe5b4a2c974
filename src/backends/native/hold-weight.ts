import type * as tf from "@tensorflow/tfjs";

import type { HeldDtype } from "../../../layers/stored.js";
import type { FloatDType } from "../../../weights/dtype.js";
import { labelled, nodeBackend, RawOps, TYPE } from "./raw-ops.js";

/** TensorFlow's number of each type, and its name here. */
export const TYPES: Record<FloatDType, { number: number; name: HeldDtype }> = {
  F32: { number: TYPE.float32, name: "float32" },
  BF16: { number: TYPE.bfloat16, name: "bfloat16" },
  F16: { number: TYPE.float16, name: "float16" },
};

/** A tensor that owns the addon's weight of that number; the caller marks what it is held as. */
export function holdWeight(id: number, shape: readonly number[]): tf.Tensor {
  // TensorFlow sees a number, TensorFlow.js a matrix of float32; only our kernels know what is behind both.
  const handle = RawOps.run(nodeBackend(), (ops) => {
    const number32 = ops.upload([1], TYPE.int32, Int32Array.of(id));
    return ops.keep(ops.op("PaligemmaHold", [number32], {}));
  });
  return labelled(handle, shape);
}
