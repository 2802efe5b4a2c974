import * as tf from "@tensorflow/tfjs";

/**
 * Makes a backend that runs already the current one, at once. The backend is a setting of the whole process, and
 * between two steps of one model another may have changed it; `tf.setBackend` takes effect before it returns unless it
 * must start the backend.
 */
export function switchBackend(name: string): void {
  if (tf.getBackend() !== name) void tf.setBackend(name);
}
