import * as tf from "@tensorflow/tfjs";

/**
 * Whether a variable still has its numbers. Code that shares the process's TensorFlow.js may have freed them:
 * `tf.disposeVariables` does, and leaves the variable itself looking alive.
 */
export function isPresent(variable: tf.LayerVariable): boolean {
  try {
    return tf.engine().state.tensorInfo.has(variable.read().dataId);
  } catch {
    return false; // reading a variable that was disposed by itself throws
  }
}
